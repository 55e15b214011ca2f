# A voting etcd member: services.etcd with mutual TLS for clients and peers, configured from the
# facts of the cluster.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.etcd;
  inherit (config.machinist) node network;
  inherit (config.lib.machinist.types) ipAddress isIPv6 urlHost;
  inherit (config.machinist.keys.units.etcd) files;
  inherit (config.lib.machinist) pki;

  clientPort = 2379;
  peerPort = 2380;
  metricsPort = 2381;
  url = port: address: "https://${urlHost address}:${toString port}";
  memberAddresses = lib.attrValues cfg.members;
  # Both of a member that moves to a new address.
  ownAddresses = [
    network.address
  ]
  ++ lib.optional (network.secondAddress != null) network.secondAddress;

  # Sets of one address family: the clients, and the bytes that each has recently sent.
  limited = family: addresses: ''
    set clients${family} {
      type ipv${family}_addr
      ${lib.optionalString (addresses != [ ]) "elements = { ${lib.concatStringsSep ", " addresses} }"}
    }
    set sent${family} {
      type ipv${family}_addr
      size 65535
      flags dynamic,timeout
      timeout 1m
    }
  '';
  drop =
    family: protocol:
    "${protocol} saddr @clients${family} tcp dport ${toString clientPort} update @sent${family} { ${protocol} saddr limit rate over "
    + "${toString cfg.clientBytesPerSecond} bytes/second burst 8 mbytes } drop comment \"etcd-clients\"";

  # Initial cluster of a member that joins without data: the voting members, and itself.
  initialMembers = removeAttrs cfg.members (lib.remove node.name cfg.joining);
  peers = lib.mapAttrsToList (name: address: "${name}=${url peerPort address}");

  # etcdctl refuses a flag that its environment sets as well, so only flags are used, and the
  # endpoints only if the caller specifies none.
  etcdctl = pkgs.writeShellScriptBin "machinist-etcdctl" ''
    if [ "$EUID" -ne 0 ]; then
      echo "machinist-etcdctl: only root may read the client key of this node" >&2
      exit 1
    fi
    endpoints=(--endpoints=${lib.concatMapStringsSep "," (url clientPort) memberAddresses})
    for argument in "$@"; do
      case "$argument" in
        --endpoints | --endpoints=*) endpoints=() ;;
      esac
    done
    exec ${config.services.etcd.package}/bin/etcdctl \
      --cacert=${pki.authority "etcd"} \
      --cert=${pki.certificate "etcd-healthcheck-client"} \
      --key=${pki.key "etcd-healthcheck-client"} \
      "''${endpoints[@]}" "$@"
  '';

  # A member whose data is gone would vote again under its old identity, although it has forgotten what it acknowledged:
  # etcd crashes at best, and after the next election it goes on. The others know whether it has been there: only a
  # member itself tells its client URLs. What is about the members is read from the environment, so that a change of
  # them changes no unit.
  neverVoted = pkgs.writeShellScript "etcd-never-voted" ''
    set -uo pipefail
    [ "$ETCD_INITIAL_CLUSTER_STATE" = existing ] && [ ! -e ${lib.escapeShellArg config.services.etcd.dataDir}/member ] || exit 0
    IFS=, read -ra members <<<"$ETCD_INITIAL_CLUSTER"
    answers=no others=no
    for member in "''${members[@]}"; do
      peer=''${member#*=}
      [ "$peer" != "$ETCD_INITIAL_ADVERTISE_PEER_URLS" ] || continue
      others=yes
      list=$(${pkgs.curl}/bin/curl --silent --show-error --fail --noproxy '*' --http1.1 --max-time 3 \
        --cacert ${files.authorities.etcd} --cert ${files.etcd-peer.certificate} --key ${files.etcd-peer.key} "$peer/members") ||
        continue
      # An array of flat objects: each ends with the only brace in it.
      [ "''${list:0:2}" = '[{' ] || continue
      answers=yes
      while IFS= read -r -d '}' listed; do
        case $listed in
          *"\"$ETCD_INITIAL_ADVERTISE_PEER_URLS\""*) ;;
          *) continue ;;
        esac
        case $listed in
          *'"clientURLs":["'*)
            echo "${node.name} has voted before, and its data is gone: it would vote again without what it has acknowledged." \
              "If a file system is not mounted, mount it; else let it join anew: \`machinist node replace ${node.name}\`" >&2
            exit 1
            ;;
        esac
      done <<<"$list"
    done
    if [ "$others$answers" = yesno ]; then
      echo "there is no data here, and no other member answers whether ${node.name} has voted before" >&2
      exit 1
    fi
  '';
in
{
  options.machinist.etcd = {
    enable = lib.mkEnableOption "a voting etcd member on this node";

    members = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = { };
      example = {
        balthazar = "10.13.13.2";
        casper = "10.13.13.4";
        melchior = "10.13.13.3";
      };
      description = "All voting members of the cluster: name to address.";
    };

    joining = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "casper" ];
      description = "Members that are not in the running cluster yet: `machinist node join` adds them.";
    };

    moving = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.9" ];
      description = "Second addresses of members that move to a new one: `machinist node readdress` adds and removes them.";
    };

    clients = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.20" ];
      description = "Addresses, besides the members', that may connect to the client port. A certificate is needed too.";
    };

    clientBytesPerSecond = lib.mkOption {
      type = lib.types.nullOr (lib.types.ints.between 16384 1073741824);
      default = null;
      example = 262144;
      description = ''
        Bytes per second that each of {option}`clients` may send to this member, after a burst of 8 MiB; `null`:
        unlimited. In a mesh it prevents a compromised node from filling the database: permissions of etcd bound
        neither keys nor bytes.
      '';
    };

    package = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "etcd(_[0-9]+)*");
      default = null;
      example = "etcd_3_5";
      description = ''
        Name of etcd's package in nixpkgs; `null`: the default of {option}`services.etcd.package`, which overrides this
        one. `machinist upgrade` sets it while the members run a version between two others.
      '';
    };

    token = lib.mkOption {
      type = lib.types.str;
      example = "magi";
      description = "Token of the initial cluster. Members with different tokens never join each other.";
    };

    ctl = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      internal = true;
      description = "`machinist-etcdctl`: etcdctl with this node's certificate, for root.";
    };

    ownUrl = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      internal = true;
      description = "URL of this member for clients.";
    };

    initialClusterState = lib.mkOption {
      type = lib.types.enum [
        "new"
        "existing"
      ];
      description = ''
        Start of a member without data: `new` founds the cluster together with the others, `existing` joins it. It
        follows the recorded state of the cluster: after the bootstrap it is `existing` for ever, since a member that
        lost its disk and starts as `new` can found a second cluster.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    machinist.etcd.ctl = etcdctl;
    machinist.etcd.ownUrl = url clientPort network.address;

    services.etcd = {
      enable = true;
      name = node.name;
      package = lib.mkIf (cfg.package != null) (
        lib.mkDefault (
          pkgs.${cfg.package}
            or (throw "machinist.etcd.package of ${node.name} is \"${cfg.package}\", which this nixpkgs does not have.")
        )
      );

      listenClientUrls = map (url clientPort) (ownAddresses ++ [ "127.0.0.1" ]);
      advertiseClientUrls = [ (url clientPort network.address) ];
      listenPeerUrls = map (url peerPort) ownAddresses;
      initialAdvertisePeerUrls = [ (url peerPort network.address) ];

      # Constants, overridden by /etc/machinist/etcd.env: neither recording the bootstrap nor a
      # change of the members, which only a member without data reads, must restart a member.
      initialCluster = peers { ${node.name} = network.address; };
      initialClusterToken = cfg.token;
      initialClusterState = "existing";

      clientCertAuth = true;
      certFile = files.etcd-server.certificate;
      keyFile = files.etcd-server.key;
      trustedCaFile = files.authorities.etcd;
      peerClientCertAuth = true;
      peerCertFile = files.etcd-peer.certificate;
      peerKeyFile = files.etcd-peer.key;
      peerTrustedCaFile = files.authorities.etcd;

      extraConf = {
        # etcd's authority also signs client certificates: without this, each of them would be valid
        # for a peer. All peers have this name (rust/pki/src/table/etcd.rs) since the first release,
        # so the flag can be introduced member by member.
        PEER_CERT_ALLOWED_CN = lib.mkDefault "kube-etcd-peer";
        # Plain HTTP, for monitoring on the node itself.
        LISTEN_METRICS_URLS = "http://127.0.0.1:${toString metricsPort}";
        # Old revisions are removed after an hour; otherwise the database grows until etcd refuses
        # writes.
        AUTO_COMPACTION_MODE = lib.mkDefault "periodic";
        AUTO_COMPACTION_RETENTION = lib.mkDefault "1h";
        # 8 GiB, the maximum that etcd's documentation recommends (etcd.io, "System limits").
        QUOTA_BACKEND_BYTES = lib.mkDefault "8589934592";
      };
    };

    machinist.keys.units.etcd = {
      leaves = [
        "etcd-server"
        "etcd-peer"
      ];
      authorities = [ "etcd" ];
    };
    machinist.keys.root = [ "etcd-healthcheck-client" ];

    environment.etc."machinist/etcd.env".text = ''
      ETCD_INITIAL_CLUSTER=${lib.concatStringsSep "," (peers initialMembers)}
      ETCD_INITIAL_CLUSTER_STATE=${cfg.initialClusterState}
    '';
    # Without `-`: a member that cannot read the recorded state must not start with a guess.
    systemd.services.etcd.serviceConfig.EnvironmentFile = "/etc/machinist/etcd.env";
    # Overrides the 30 s of NixOS' services.etcd, during which a crashed member would be missing
    # from the quorum.
    systemd.services.etcd.serviceConfig.RestartSec = lib.mkOverride 90 "5s";
    systemd.services.etcd.preStart = "${neverVoted}";

    environment.systemPackages = [ etcdctl ];

    machinist.firewall.tcp = {
      etcd-clients = {
        port = clientPort;
        sources = memberAddresses ++ cfg.moving ++ cfg.clients;
      };
      etcd-peers = {
        port = peerPort;
        sources = memberAddresses ++ cfg.moving;
      };
    };

    # A separate table: packets dropped here never reach the firewall's rules.
    networking.nftables.tables.machinist-etcd-clients =
      lib.mkIf (cfg.clientBytesPerSecond != null && cfg.clients != [ ])
        {
          family = "inet";
          content = ''
            ${limited "4" (lib.filter (address: !isIPv6 address) cfg.clients)}
            ${limited "6" (lib.filter isIPv6 cfg.clients)}
            chain input {
              type filter hook input priority filter - 10; policy accept;
              ${drop "4" "ip"}
              ${drop "6" "ip6"}
            }
          '';
        };

    assertions = [
      {
        assertion = cfg.members.${node.name} or null == network.address;
        message =
          "machinist.etcd.members of ${node.name} does not contain the node itself at ${network.address}: give the "
          + "machine the role \"etcd\" in machines.nix and run `machinist generate`.";
      }
      {
        assertion = !config.services.etcd.openFirewall;
        message =
          "services.etcd.openFirewall is true on ${node.name} and would open etcd to every address: remove it, and "
          + "list the addresses that need etcd in machinist.etcd.clients.";
      }
    ];
  };
}
