# Firewall port for nodes that serve store paths to each other during a deploy. The server itself is
# started by the deploy, on some nodes, and ends with it.
{ config, lib, ... }:
let
  inherit (config.machinist) network;
  # Port used by `machinist deploy` (rust/rollout/src/fan_out/peers.rs).
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
