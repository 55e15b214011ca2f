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
    boot.kernel.sysctl = {
      # Every pod watches files.
      "fs.inotify.max_user_instances" = lib.mkDefault 8192;
      "fs.inotify.max_user_watches" = lib.mkDefault 524288;
      # What the kubelet sets or demands (protectKernelDefaults).
      "vm.overcommit_memory" = lib.mkDefault 1;
      "kernel.panic" = lib.mkDefault 10;
      "kernel.panic_on_oops" = lib.mkDefault 1;
      "net.ipv6.conf.all.forwarding" = lib.mkIf (network.nodes6 != null) 1;
      # An announced address lies on `lo`: no node may answer ARP for it.
      "net.ipv4.conf.all.arp_ignore" = lib.mkIf (cfg.controlPlane && announcesByBgp) 1;
      "net.ipv4.conf.all.arp_announce" = lib.mkIf (cfg.controlPlane && announcesByBgp) 2;
    };
  };
}
