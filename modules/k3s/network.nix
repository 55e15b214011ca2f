# Firewall and kernel of a node of k3s, beyond ../api-endpoint.nix. NixOS' module opens nothing.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  servers = lib.attrValues cfg.servers;
in
{
  config = lib.mkIf cfg.enable {
    machinist.firewall.tcp = lib.mkIf (cfg.role == "server") {
      k3s-etcd-clients = {
        port = 2379;
        sources = servers;
      };
      k3s-etcd-peers = {
        port = 2380;
        sources = servers;
      };
    };

    boot.kernelModules = [
      "br_netfilter"
      "overlay"
    ];
    # Between NixOS' own defaults and the user's settings, as in ../api-endpoint.nix.
    boot.kernel.sysctl."net.ipv4.ip_forward" = lib.mkOverride 900 1;
  };
}
