{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.flannel;
  option =
    type: default: description:
    mkOption { inherit type default description; };
  file = option (types.nullOr types.path) null;
  text = option (types.nullOr types.str) null;
  networkConfig =
    lib.filterAttrs (_: value: value != null) {
      Network = cfg.network;
      SubnetLen = cfg.subnetLen;
      SubnetMin = cfg.subnetMin;
      SubnetMax = cfg.subnetMax;
      Backend = cfg.backend;
    }
    // cfg.extraNetworkConfig;
in
{
  options.services.flannel = {
    enable = lib.mkEnableOption "flannel";
    package = lib.mkPackageOption pkgs "flannel" { };
    backend = option types.attrs { Type = "vxlan"; } "How packets travel.";
    etcd = {
      caFile = file "Authority of etcd.";
      certFile = file "Client certificate for etcd.";
      keyFile = file "Client key for etcd.";
      endpoints = option (types.listOf types.str) [ "http://127.0.0.1:2379" ] "Members of etcd.";
      prefix = option types.str "/coreos.com/network" "Prefix of keys.";
    };
    extraNetworkConfig = option (pkgs.formats.json { }).type { } "More of the network's configuration.";
    iface = text "Interface between nodes.";
    kubeconfig = file "Kubeconfig.";
    network = mkOption {
      type = types.str;
      description = "Range of all nodes.";
    };
    nodeName = mkOption {
      type = types.nullOr types.str;
      default = config.networking.fqdnOrHostName;
      defaultText = lib.literalExpression "config.networking.fqdnOrHostName";
      description = "The node's name.";
    };
    publicIp = text "The node's address for other nodes.";
    storageBackend = option (types.enum [ "etcd" "kubernetes" ]) "etcd" "Where leases are kept.";
    subnetLen = option types.int 24 "Prefix length of a node's part.";
    subnetMax = text "Last part.";
    subnetMin = text "First part.";
  };

  config = lib.mkIf cfg.enable {
    boot.kernelModules = [ "br_netfilter" ];
    environment.etc."kube-flannel/net-conf.json" = lib.mkIf (cfg.storageBackend == "kubernetes") {
      source = pkgs.writeText "net-conf.json" (builtins.toJSON networkConfig);
    };
    services.etcd.enable = lib.mkDefault (
      cfg.storageBackend == "etcd" && cfg.etcd.endpoints == [ "http://127.0.0.1:2379" ]
    );
    systemd.services.flannel = {
      description = "Flannel Service";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      path = [ pkgs.iptables ];
      environment = {
        FLANNELD_PUBLIC_IP = cfg.publicIp;
        FLANNELD_IFACE = cfg.iface;
      }
      // lib.optionalAttrs (cfg.storageBackend == "etcd") {
        FLANNELD_ETCD_ENDPOINTS = lib.concatStringsSep "," cfg.etcd.endpoints;
        FLANNELD_ETCD_KEYFILE = cfg.etcd.keyFile;
        FLANNELD_ETCD_CERTFILE = cfg.etcd.certFile;
        FLANNELD_ETCD_CAFILE = cfg.etcd.caFile;
        ETCDCTL_CERT = cfg.etcd.certFile;
        ETCDCTL_KEY = cfg.etcd.keyFile;
        ETCDCTL_CACERT = cfg.etcd.caFile;
        ETCDCTL_ENDPOINTS = lib.concatStringsSep "," cfg.etcd.endpoints;
        ETCDCTL_API = "3";
      }
      // lib.optionalAttrs (cfg.storageBackend == "kubernetes") {
        FLANNELD_KUBE_SUBNET_MGR = "true";
        FLANNELD_KUBECONFIG_FILE = cfg.kubeconfig;
        NODE_NAME = cfg.nodeName;
      };
      preStart = lib.optionalString (cfg.storageBackend == "etcd") ''
        until ${pkgs.etcd}/bin/etcdctl put /coreos.com/network/config '${builtins.toJSON networkConfig}'
        do
          sleep 1
        done
      '';
      serviceConfig = {
        ExecStart = "${cfg.package}/bin/flannel";
        Restart = "always";
        RestartSec = "10s";
        RuntimeDirectory = "flannel";
      };
    };
  };
}
