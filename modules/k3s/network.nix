# Firewall, kernel modules and sysctls of a node of k3s. NixOS' module opens nothing.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  inherit (config.machinist) network node;
  servers = lib.attrValues cfg.servers;
  nodes = [ network.nodes ] ++ lib.optional (network.nodes6 != null) network.nodes6;
  isServer = cfg.role == "server";
  isIngress = lib.elem "ingress" node.roles;
  announcesByBgp = cfg.endpoint != null && (cfg.endpoint.vip.mode or null) == "bgp";

  tunnels = {
    vxlan.flannel-vxlan = 8472;
    wireguard = {
      flannel-wireguard = 51820;
      flannel-wireguard-v6 = 51821;
    };
  };
  interfaces = {
    vxlan = [ "flannel.1" ];
    wireguard = [
      "flannel-wg"
      "flannel-wg-v6"
    ];
  };
  modules = {
    vxlan = [ "vxlan" ];
    wireguard = [ "wireguard" ];
  };
in
{
  config = lib.mkIf cfg.enable {
    machinist.firewall = {
      tcp = {
        # The API servers, and the metrics server from whatever node it runs on.
        kubelet = {
          port = 10250;
          sources = nodes;
        };
      }
      // lib.optionalAttrs isServer {
        k3s-etcd-clients = {
          port = 2379;
          sources = servers;
        };
        k3s-etcd-peers = {
          port = 2380;
          sources = servers;
        };
      };
      udp = lib.mapAttrs (_: port: {
        inherit port;
        # WireGuard knows its peers by their keys; what comes by VXLAN comes out of an interface that is trusted.
        sources = if cfg.overlay == "vxlan" then network.peers else nodes;
      }) (tunnels.${cfg.overlay} or { });
    };

    networking.firewall = {
      # People and nodes reach the API from anywhere; a certificate or a token is needed.
      allowedTCPPorts =
        lib.optional isServer cfg.port
        ++ lib.optionals isIngress [
          80
          443
        ];
      allowedUDPPorts = lib.optional isIngress 443;
      # Pods reach their node, its API server and the cluster's DNS through these.
      trustedInterfaces = [ "cni0" ] ++ interfaces.${cfg.overlay} or [ ];
      checkReversePath = lib.mkDefault "loose";
    };

    boot.kernelModules = [
      "br_netfilter"
      "overlay"
    ]
    ++ modules.${cfg.overlay} or [ ];
    # Above NixOS' own defaults, below what a person sets: two definitions of one priority conflict, even if they are equal.
    boot.kernel.sysctl = lib.mapAttrs (_: lib.mkOverride 900) (
      {
        "vm.overcommit_memory" = 1;
        "kernel.panic" = 10;
        "kernel.panic_on_oops" = 1;
        "net.ipv4.ip_forward" = 1;
      }
      // lib.optionalAttrs (network.nodes6 != null) { "net.ipv6.conf.all.forwarding" = 1; }
      # An announced address lies on `lo`: no node may answer ARP for it.
      // lib.optionalAttrs (isServer && announcesByBgp) {
        "net.ipv4.conf.all.arp_ignore" = 1;
        "net.ipv4.conf.all.arp_announce" = 2;
      }
    );
  };
}
