# Facts of Kubernetes beyond ../api-endpoint.nix, and settings that NixOS' modules of all components
# share.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network;
  inherit (config.lib.machinist.types) ipAddress urlHost;
  inherit (config.lib.machinist) pki;
in
{
  options.machinist.kubernetes = {
    enable = lib.mkEnableOption "Kubernetes on this node";

    controlPlane = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Runs the API server, the controller manager and the scheduler on this node.";
    };

    nodeComponents = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Runs kubelet, kube-proxy, flannel and containerd on this node. A control plane without them is not a node of
        the cluster: it runs neither pods nor their network.
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
      description = "Addresses of all members of etcd. Set on control planes only.";
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
        # Nothing on a control plane depends on the virtual address, which comes up later.
        if cfg.controlPlane then cfg.localServer else "https://${urlHost address}:${toString cfg.port}";
      defaultText = lib.literalExpression "the node's own API server on control planes, else the endpoint";
      description = "API server for this node's components.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.kubernetes = {
      # Any value of `roles` enables easyCerts and a single etcd; false is set explicitly for
      # readers who look for it.
      easyCerts = false;
      caFile = pki.authority "kubernetes";
      # Never the node's own: with the port, which NixOS' default omits if an address is advertised.
      apiserverAddress =
        let
          address =
            if cfg.endpoint == null then lib.head (lib.attrValues cfg.controlPlanes) else cfg.endpoint.address;
        in
        "https://${urlHost address}:${toString cfg.port}";
      # Has no default in NixOS, and is used in the defaults for etcd.
      masterAddress = network.address;
      clusterCidr = lib.concatStringsSep "," cfg.pods;
      # On every node: NixOS derives the pods' name server from it.
      apiserver.serviceClusterIpRange = lib.concatStringsSep "," cfg.services;
      addons.dns = {
        # Its objects would need the addon manager.
        enable = false;
        clusterDomain = cfg.clusterDomain;
        clusterIp = cfg.dns;
      };
    };
  };
}
