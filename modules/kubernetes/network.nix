# Firewall and kernel of a node of Kubernetes. NixOS' modules open nothing but flannel's ports.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network node;
  planes = lib.attrValues cfg.controlPlanes;
  nodes = [ network.nodes ] ++ lib.optional (network.nodes6 != null) network.nodes6;

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
  isIngress = lib.elem "ingress" node.roles;
  announcesByBgp = cfg.endpoint != null && (cfg.endpoint.vip.mode or null) == "bgp";
in
{
  config = lib.mkIf cfg.enable {
    machinist.firewall = {
      tcp.kubelet = {
        port = 10250;
        sources = planes;
      };
      udp = lib.mapAttrs (_: port: {
        inherit port;
        # WireGuard knows its peers by their keys; what comes by VXLAN comes out of an interface that is trusted.
        sources = if cfg.overlay == "vxlan" then network.peers else nodes;
      }) (tunnels.${cfg.overlay} or { });
    };

    networking.firewall = {
      # People and nodes reach the API from anywhere; a certificate is needed.
      allowedTCPPorts =
        lib.optional cfg.controlPlane cfg.port
        ++ lib.optionals isIngress [
          80
          443
        ];
      allowedUDPPorts = lib.optional isIngress 443;
      # Pods reach their node, its API server and the cluster's DNS through these.
      trustedInterfaces = [ "cni0" ] ++ interfaces.${cfg.overlay} or [ ];
      # Packets for a virtual address or a pod may come in where the answer would not go out.
      checkReversePath = lib.mkDefault "loose";
    };

    boot.kernelModules = modules.${cfg.overlay} or [ ];
    # Above NixOS' own defaults, below what a person sets: two definitions of one priority conflict, even if they are equal.
    boot.kernel.sysctl = lib.mapAttrs (_: lib.mkOverride 900) (
      {
        # What the kubelet sets or demands (protectKernelDefaults).
        "vm.overcommit_memory" = 1;
        "kernel.panic" = 10;
        "kernel.panic_on_oops" = 1;
      }
      // lib.optionalAttrs (network.nodes6 != null) { "net.ipv6.conf.all.forwarding" = 1; }
      # An announced address lies on `lo`: no node may answer ARP for it.
      // lib.optionalAttrs (cfg.controlPlane && announcesByBgp) {
        "net.ipv4.conf.all.arp_ignore" = 1;
        "net.ipv4.conf.all.arp_announce" = 2;
      }
    );
  };
}
