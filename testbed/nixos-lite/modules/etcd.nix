{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.etcd;
  opt = options.services.etcd;

  flag =
    description:
    mkOption {
      type = types.bool;
      default = false;
      inherit description;
    };
  text =
    default: description:
    mkOption {
      type = types.str;
      inherit default description;
    };
  file =
    description:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      inherit description;
    };
  fileLike =
    name: description:
    mkOption {
      type = types.nullOr types.path;
      default = cfg.${name};
      defaultText = literalExpression "config.${opt.${name}}";
      inherit description;
    };
  urls =
    default: description:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
    };
  urlsLike =
    name: description:
    mkOption {
      type = types.listOf types.str;
      default = cfg.${name};
      defaultText = literalExpression "config.${opt.${name}}";
      inherit description;
    };
  comma = lib.concatStringsSep ",";
in
{
  options.services.etcd = {
    enable = flag "Whether to enable etcd.";
    package = lib.mkPackageOption pkgs "etcd" { };
    name = mkOption {
      type = types.str;
      default = config.networking.hostName;
      defaultText = literalExpression "config.networking.hostName";
      description = "The member's name.";
    };
    advertiseClientUrls = urlsLike "listenClientUrls" "Client URLs told to the rest of the cluster.";
    listenClientUrls = urls [ "http://127.0.0.1:2379" ] "URLs to listen on for clients.";
    listenPeerUrls = urls [ "http://127.0.0.1:2380" ] "URLs to listen on for peers.";
    initialAdvertisePeerUrls = urlsLike "listenPeerUrls" "Peer URLs told to the rest of the cluster.";
    initialCluster = mkOption {
      type = types.listOf types.str;
      default = [ "${cfg.name}=http://127.0.0.1:2380" ];
      defaultText = literalExpression ''[ "''${config.${opt.name}}=http://127.0.0.1:2380" ]'';
      description = "The members at the bootstrap.";
    };
    initialClusterState = mkOption {
      type = types.enum [
        "new"
        "existing"
      ];
      default = "new";
      description = "State of the cluster at the first start: `new` bootstraps it, `existing` joins it.";
    };
    initialClusterToken = text "etcd-cluster" "Token of the bootstrap.";
    discovery = text "" "Discovery URL.";
    clientCertAuth = flag "Whether clients must have a certificate.";
    trustedCaFile = file "The authority of client certificates.";
    certFile = file "The certificate shown to clients.";
    keyFile = file "The key of that certificate.";
    peerClientCertAuth = flag "Whether peers must have a certificate of the given authority.";
    peerTrustedCaFile = fileLike "trustedCaFile" "The authority of peer certificates.";
    peerCertFile = fileLike "certFile" "The certificate shown to peers.";
    peerKeyFile = fileLike "keyFile" "The key of that certificate.";
    openFirewall = flag "Whether to open ports 2379 and 2380.";
    extraConf = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "More settings: the environment variables ETCD_<name>.";
    };
    dataDir = mkOption {
      type = types.path;
      default = "/var/lib/etcd";
      description = "The data directory.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.tmpfiles.settings."10-etcd".${cfg.dataDir}.d = {
      user = "etcd";
      mode = "0700";
    };

    systemd.services.etcd = {
      description = "etcd key-value store";
      wantedBy = [ "multi-user.target" ];
      after = [ "network-online.target" ] ++ lib.optional config.networking.firewall.enable "firewall.service";
      wants = [ "network-online.target" ] ++ lib.optional config.networking.firewall.enable "firewall.service";

      environment =
        lib.filterAttrs (_: v: v != null) {
          ETCD_NAME = cfg.name;
          ETCD_DISCOVERY = cfg.discovery;
          ETCD_DATA_DIR = cfg.dataDir;
          ETCD_ADVERTISE_CLIENT_URLS = comma cfg.advertiseClientUrls;
          ETCD_LISTEN_CLIENT_URLS = comma cfg.listenClientUrls;
          ETCD_LISTEN_PEER_URLS = comma cfg.listenPeerUrls;
          ETCD_INITIAL_ADVERTISE_PEER_URLS = comma cfg.initialAdvertisePeerUrls;
          ETCD_PEER_CLIENT_CERT_AUTH = toString cfg.peerClientCertAuth;
          ETCD_PEER_TRUSTED_CA_FILE = cfg.peerTrustedCaFile;
          ETCD_PEER_CERT_FILE = cfg.peerCertFile;
          ETCD_PEER_KEY_FILE = cfg.peerKeyFile;
          ETCD_CLIENT_CERT_AUTH = toString cfg.clientCertAuth;
          ETCD_TRUSTED_CA_FILE = cfg.trustedCaFile;
          ETCD_CERT_FILE = cfg.certFile;
          ETCD_KEY_FILE = cfg.keyFile;
        }
        // lib.optionalAttrs (cfg.discovery == "") {
          ETCD_INITIAL_CLUSTER = comma cfg.initialCluster;
          ETCD_INITIAL_CLUSTER_STATE = cfg.initialClusterState;
          ETCD_INITIAL_CLUSTER_TOKEN = cfg.initialClusterToken;
        }
        // lib.mapAttrs' (n: v: lib.nameValuePair "ETCD_${n}" v) cfg.extraConf;

      unitConfig.Documentation = "https://github.com/coreos/etcd";
      serviceConfig = {
        Type = "notify";
        Restart = "always";
        RestartSec = "30s";
        ExecStart = "${cfg.package}/bin/etcd";
        User = "etcd";
        LimitNOFILE = 40000;
      };
    };

    environment.systemPackages = [ cfg.package ];
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [
      2379
      2380
    ];
    users.users.etcd = {
      isSystemUser = true;
      group = "etcd";
      description = "Etcd daemon user";
      home = cfg.dataDir;
    };
    users.groups.etcd = { };
  };
}
