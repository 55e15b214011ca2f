# The facts of Kubernetes, and what NixOS' modules of all components share.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network;
  inherit (import ../types.nix { inherit lib; }) ipAddress ipRange urlHost;
  pki = import ../pki-files.nix { inherit config; };
in
{
  options.machinist.kubernetes = {
    enable = lib.mkEnableOption "Kubernetes on this node";

    controlPlane = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether the node runs the API server, the controller manager and the scheduler.";
    };

    nodeComponents = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether kubelet, kube-proxy, flannel and containerd run here. A control plane without them is no node of the
        cluster: it runs no pods, and none of their network.
      '';
    };

    controlPlanes = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = { };
      example = {
        cp1 = "10.13.13.2";
      };
      description = "All control planes of the cluster: name to address.";
    };

    etcdMembers = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.2" ];
      description = "Addresses of all members of etcd. Only control planes know them.";
    };

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
      type = lib.types.enum [
        "host-gw"
        "vxlan"
        "wireguard"
      ];
      default = "vxlan";
      description = "How packets of pods travel between nodes.";
    };

    taints = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)");
      default = [ ];
      example = [ "dedicated=gpu:NoExecute" ];
      description = "Taints that the node registers with, `key=value:Effect`.";
    };

    endpoint = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.submodule {
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
              description = "TCP port, of the API servers too: nothing stands between.";
            };
            vip = lib.mkOption {
              type = lib.types.nullOr (
                lib.types.attrsOf (
                  lib.types.oneOf [
                    lib.types.bool
                    lib.types.int
                    lib.types.str
                  ]
                )
              );
              default = null;
              description = "How the address reaches a control plane. Only control planes know it.";
            };
          };
        }
      );
      default = null;
      description = "Where the API is reached from outside of the control plane.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      readOnly = true;
      default = if cfg.endpoint == null then 6443 else cfg.endpoint.port;
      defaultText = lib.literalExpression "the endpoint's port, or 6443";
      description = "TCP port of the API servers.";
    };

    localServer = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      default = "https://127.0.0.1:${toString cfg.port}";
      defaultText = lib.literalExpression ''"https://127.0.0.1:6443"'';
      description = "API server of the node itself, on control planes.";
    };

    server = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      default =
        let
          first = lib.head (lib.attrValues cfg.controlPlanes);
          address = if cfg.endpoint == null then first else cfg.endpoint.address;
        in
        # Nothing on a control plane depends on the virtual address: it comes up after them.
        if cfg.controlPlane then cfg.localServer else "https://${urlHost address}:${toString cfg.port}";
      defaultText = lib.literalExpression "the node's own API server on control planes, else the endpoint";
      description = "API server that this node's components talk to.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.kubernetes = {
      # Any value of `roles` switches easyCerts and a single etcd on; false is said for a person who looks for it.
      easyCerts = false;
      caFile = pki.authority "kubernetes";
      # Never the node's own: with the port, which NixOS' default leaves out where an address is advertised.
      apiserverAddress =
        let
          address = if cfg.endpoint == null then lib.head (lib.attrValues cfg.controlPlanes) else cfg.endpoint.address;
        in
        "https://${urlHost address}:${toString cfg.port}";
      # No default in NixOS, and read by what makes defaults for etcd.
      masterAddress = network.address;
      clusterCidr = lib.concatStringsSep "," cfg.pods;
      # On every node: NixOS derives the pods' name server from it.
      apiserver.serviceClusterIpRange = lib.concatStringsSep "," cfg.services;
      addons.dns = {
        # Its objects would be for the addon manager.
        enable = false;
        clusterDomain = cfg.clusterDomain;
        clusterIp = cfg.dns;
      };
    };
  };
}
