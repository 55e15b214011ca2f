# Lets the cluster's nodes fetch store paths from each other while a deploy copies: the port for it. What listens there is
# started by the deploy, for its own time, on some nodes.
{ config, lib, ... }:
let
  inherit (config.machinist) network;
  # The port that `machinist deploy` uses (rust/rollout/src/fan_out/peers.rs).
  port = 7080;
in
{
  options.machinist.fanOut.enable = lib.mkOption {
    type = lib.types.bool;
    default = true;
    description = ''
      Opens TCP port ${toString port} of this node to the nodes' network ({option}`machinist.network.nodes` and `nodes6`),
      where it serves store paths during a deploy. If closed, the operator's computer sends them to each node directly.
    '';
  };

  config = lib.mkIf config.machinist.fanOut.enable {
    machinist.firewall.tcp.fan-out = {
      inherit port;
      sources = [ network.nodes ] ++ lib.optional (network.nodes6 != null) network.nodes6;
    };
  };
}
