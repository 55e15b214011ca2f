# Options and node configuration that the APIs of k3s and Kubernetes share: the endpoint with its
# virtual address, the ranges of pods and services, and the pods' overlay. A function, because each
# of the two has these options under its own name.
{
  # `k3s` or `kubernetes`: the options are below machinist.<name>.
  name,
  # Function of these options: true if the node serves the API.
  servesApi,
  # Plural noun for the machines that serve it, for descriptions.
  servers,
  defaultOverlay,
  # Function of these options and the nodes' ranges: sources that may reach the kubelet.
  kubeletSources,
}:
{ config, lib, ... }:
let
  cfg = config.machinist.${name};
  inherit (config.machinist) network node;
  inherit (config.lib.machinist.types) ipAddress ipRange;

  nodes = [ network.nodes ] ++ lib.optional (network.nodes6 != null) network.nodes6;
  isIngress = lib.elem "ingress" node.roles;
  announcesByBgp = cfg.endpoint != null && (cfg.endpoint.vip.mode or null) == "bgp";

  overlays = {
    host-gw = {
      ports = { };
      interfaces = [ ];
      kernelModules = [ ];
    };
    vxlan = {
      ports.flannel-vxlan = 8472;
      interfaces = [ "flannel.1" ];
      kernelModules = [ "vxlan" ];
    };
    wireguard = {
      ports = {
        flannel-wireguard = 51820;
        flannel-wireguard-v6 = 51821;
      };
      interfaces = [
        "flannel-wg"
        "flannel-wg-v6"
      ];
      kernelModules = [ "wireguard" ];
    };
  };
  overlay = overlays.${cfg.overlay};

  scalar = lib.types.oneOf [
    lib.types.bool
    lib.types.int
    lib.types.str
  ];
  endpoint = lib.types.submodule {
    options = {
      address = lib.mkOption {
        type = ipAddress;
        description = "Virtual address.";
      };
      name = lib.mkOption {
        type = lib.types.str;
        description = "DNS name.";
      };
      port = lib.mkOption {
        type = lib.types.port;
        description = "TCP port, of the ${servers} too: nothing is in between.";
      };
      vip = lib.mkOption {
        type = lib.types.nullOr (lib.types.attrsOf scalar);
        default = null;
        description = "Announcement of the address. Set on the ${servers} only.";
      };
    };
  };
in
{
  # Errors of the module system name this file, although the module is the result of a function.
  _file = ./api-endpoint.nix;

  options.machinist.${name} = {
    clusterDomain = lib.mkOption {
      type = lib.types.str;
      default = "cluster.local";
      description = "DNS domain of services and pods. It is in the API servers' certificates.";
    };

    pods = lib.mkOption {
      type = lib.types.listOf ipRange;
      example = [ "10.42.0.0/16" ];
      description = "Ranges of the pods: one, or two for dual stack.";
    };

    services = lib.mkOption {
      type = lib.types.listOf ipRange;
      example = [ "10.96.0.0/16" ];
      description = "Ranges of the services: one, or two for dual stack.";
    };

    dns = lib.mkOption {
      type = ipAddress;
      example = "10.96.0.10";
      description = "Address of the cluster's DNS, a service.";
    };

    overlay = lib.mkOption {
      type = lib.types.enum (lib.attrNames overlays);
      default = defaultOverlay;
      description = "Transport of pods' packets between nodes. Only `wireguard` encrypts them.";
    };

    taints = lib.mkOption {
      type = lib.types.listOf (
        lib.types.strMatching "[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)"
      );
      default = [ ];
      example = [ "dedicated=gpu:NoExecute" ];
      description = "Taints that the node registers with, `key=value:Effect`.";
    };

    endpoint = lib.mkOption {
      type = lib.types.nullOr endpoint;
      default = null;
      description = "Address of the API for clients outside of the ${servers}.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      readOnly = true;
      default = if cfg.endpoint == null then 6443 else cfg.endpoint.port;
      defaultText = lib.literalExpression "the endpoint's port, or 6443";
      description = "TCP port of the ${servers}.";
    };
  };

  config = lib.mkIf cfg.enable {
    machinist.firewall = {
      tcp.kubelet = {
        port = 10250;
        sources = kubeletSources cfg nodes;
      };
      udp = lib.mapAttrs (_: port: {
        inherit port;
        # WireGuard knows its peers by their keys; VXLAN packets arrive on a trusted interface.
        sources = if cfg.overlay == "vxlan" then network.peers else nodes;
      }) overlay.ports;
    };

    networking.firewall = {
      # Users and nodes reach the API from anywhere; it requires a certificate or a token.
      allowedTCPPorts =
        lib.optional (servesApi cfg) cfg.port
        ++ lib.optionals isIngress [
          80
          443
        ];
      allowedUDPPorts = lib.optional isIngress 443;
      # Pods reach their node, its API server and the cluster's DNS through these interfaces.
      trustedInterfaces = [ "cni0" ] ++ overlay.interfaces;
      # Packets for a virtual address or a pod may arrive on another interface than that of the
      # answer.
      checkReversePath = lib.mkDefault "loose";
    };

    boot = {
      inherit (overlay) kernelModules;

      # Between NixOS' own defaults (1000) and the user's settings (100): two definitions of one
      # priority conflict, even if they are equal.
      kernel.sysctl = lib.mapAttrs (_: lib.mkOverride 900) (
        {
          # Values that the kubelet sets or requires (protectKernelDefaults).
          "vm.overcommit_memory" = 1;
          "kernel.panic" = 10;
          "kernel.panic_on_oops" = 1;
        }
        // lib.optionalAttrs (network.nodes6 != null) { "net.ipv6.conf.all.forwarding" = 1; }
        # An announced address is on `lo`: no node may answer ARP requests for it.
        // lib.optionalAttrs (servesApi cfg && announcesByBgp) {
          "net.ipv4.conf.all.arp_ignore" = 1;
          "net.ipv4.conf.all.arp_announce" = 2;
        }
      );
    };
  };
}
