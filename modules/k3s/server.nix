# k3s as a server. A file in /etc says which server founds the cluster and which ones join, since
# recording it must not restart anything.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.k3s;
  inherit (config.machinist) node;
  names = lib.attrNames cfg.servers;
  addresses = lib.attrValues cfg.servers;
  isServer = cfg.enable && cfg.role == "server";

  # The server to join: the founder until the cluster is recorded, then the next by name. k3s
  # contacts it only if it has no data; otherwise it starts without it, so that servers which were
  # all down come up together.
  others = lib.remove node.name names;
  later = lib.filter (name: name > node.name) others;
  next = lib.head (later ++ others);
  isFounder = !cfg.founded && cfg.founder == node.name;
  joins = if cfg.founded then next else cfg.founder;
  environment =
    if isFounder then
      "K3S_CLUSTER_INIT=true\n"
    else if others == [ ] then
      "# The only server, which founded the cluster.\n"
    else
      "K3S_URL=${cfg.url cfg.servers.${joins}}\n";

  data = "/var/lib/rancher/k3s/server";
  tls = "${data}/tls";

  # Without data, --cluster-init and a server to join, k3s would start a new, empty cluster on
  # sqlite.
  guard = pkgs.writeShellScript "k3s-guard" ''
    if [ -d ${data}/db/etcd/member ] || grep -Eq '^K3S_(CLUSTER_INIT|URL)=' /etc/machinist/k3s.env; then
      exit 0
    fi
    echo "${node.name} is the only server of a cluster that already exists, and its data is gone: k3s would start a new, empty" \
      "cluster. Restore a snapshot (k3s server --cluster-reset --cluster-reset-restore-path=FILE), or, to start from scratch, set" \
      "\"bootstrapped\" to false in state/cluster.json and deploy" >&2
    exit 1
  '';

  etcdctl = pkgs.writeShellScriptBin "machinist-etcdctl" ''
    if [ "$EUID" -ne 0 ]; then
      echo "machinist-etcdctl: only root may read the client key of this node" >&2
      exit 1
    fi
    endpoints=(--endpoints=https://127.0.0.1:2379)
    for argument in "$@"; do
      case "$argument" in
        --endpoints | --endpoints=*) endpoints=() ;;
      esac
    done
    exec ${pkgs.etcd}/bin/etcdctl --cacert=${tls}/etcd/server-ca.crt --cert=${tls}/etcd/client.crt \
      --key=${tls}/etcd/client.key "''${endpoints[@]}" "$@"
  '';

  disabled =
    lib.optional (cfg.serviceLoadBalancer != "servicelb") "servicelb"
    ++ lib.optional (cfg.ingress != "traefik") "traefik";
  backend = if cfg.overlay == "wireguard" then "wireguard-native" else cfg.overlay;
  alternativeNames =
    names
    ++ addresses
    ++ lib.optionals (cfg.endpoint != null) [
      cfg.endpoint.address
      cfg.endpoint.name
    ];

  # The same flags on every server: k3s refuses a server that differs in most of them, and the
  # others must not differ either.
  common = [
    "--cluster-cidr=${lib.concatStringsSep "," cfg.pods}"
    "--service-cidr=${lib.concatStringsSep "," cfg.services}"
    "--cluster-dns=${cfg.dns}"
    "--cluster-domain=${cfg.clusterDomain}"
    "--flannel-backend=${backend}"
    "--https-listen-port=${toString cfg.port}"
    "--secrets-encryption"
    "--write-kubeconfig-mode=600"
    ''"--etcd-snapshot-schedule-cron=${cfg.snapshots.schedule}"''
    "--etcd-snapshot-retention=${toString cfg.snapshots.retention}"
  ]
  ++ map (name: "--tls-san=${name}") alternativeNames
  ++ map (name: "--disable=${name}") disabled;
in
{
  config = lib.mkIf isServer {
    services.k3s = {
      agentTokenFile = config.machinist.keys.units.k3s.files.k3s-agent-token.key;
      environmentFile = "/etc/machinist/k3s.env";
      extraFlags = common;
    };

    environment.etc."machinist/k3s.env".text = environment;
    systemd.services.k3s.serviceConfig.ExecStartPre = [ "${guard}" ];
    environment.systemPackages = [ etcdctl ];

    # k3s' API server answers no request without a certificate, not even /readyz.
    machinist.gates.k3s = {
      command = [
        "${pkgs.curl}/bin/curl"
        "--silent"
        "--show-error"
        "--fail"
        "--noproxy"
        "*"
        "--max-time"
        "5"
        "--cacert"
        "${tls}/server-ca.crt"
        "--cert"
        "${tls}/client-admin.crt"
        "--key"
        "${tls}/client-admin.key"
        "https://127.0.0.1:${toString cfg.port}/readyz"
      ];
      timeout = 240;
    };

    assertions = [
      {
        assertion = !config.services.k3s.clusterInit && config.services.k3s.serverAddr == "";
        message =
          "services.k3s.clusterInit or serverAddr is set on ${node.name}: a server that is installed anew would found a "
          + "second cluster. Remove it; /etc/machinist/k3s.env has the recorded founder and server to join.";
      }
      {
        assertion = cfg.servers.${node.name} or null == config.machinist.network.address;
        message =
          "machinist.k3s.servers of ${node.name} does not contain the node itself: give the machine the role "
          + "\"control-plane\" in machines.nix and run `machinist generate`.";
      }
      {
        assertion = cfg.founded || cfg.servers ? ${cfg.founder};
        message = "machinist.k3s.founder of ${node.name} is not a server of the cluster: run `machinist generate`.";
      }
    ];
  };
}
