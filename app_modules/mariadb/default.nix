# MariaDB, replicated by Galera among the machines that name it. members.sh elects the member that
# bootstraps it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.apps.mariadb;
  inherit (config.machinist) network node overlay;
  inherit (config.lib.machinist.types) secretPath urlHost;
  directory = "/run/mariadb-members";
  # Members reach each other at these addresses, clients use that of the mesh.
  addressOf =
    name: address:
    if cfg.replicatesOver == "overlay" then overlay.nodes.${name}.ip or address else address;
  addresses = lib.mapAttrs addressOf cfg.members;
  host = urlHost (addresses.${node.name} or network.address);
  # Packets from the overlay have an address of the node's subnet that the backend selects, or the
  # node's own.
  sourcesOf =
    name: address:
    [ address ]
    ++ lib.optional (
      cfg.replicatesOver == "overlay" && overlay.nodes ? ${name}
    ) overlay.nodes.${name}.subnet;
  others = lib.concatLists (lib.mapAttrsToList sourcesOf (removeAttrs cfg.members [ node.name ]));

  ports = {
    inherit (cfg.ports) members replication;
    increment = cfg.ports.replication + 1;
    transfer = cfg.ports.transfer;
  };

  # Not by its path in the store where a unit names it: otherwise a new version of members.sh would
  # restart the database.
  members = "/run/current-system/sw/bin/mariadb-members";
  program = pkgs.writeShellScriptBin "mariadb-members" ''
    export PATH=${
      lib.makeBinPath [
        config.services.mysql.package
        config.systemd.package
        pkgs.coreutils
        pkgs.gawk
        pkgs.gnugrep
        pkgs.gnused
        pkgs.socat
      ]
    }
    export DIRECTORY=${directory} MEMBERS=/etc/machinist/mariadb/members SELF=${node.name} PORT=${toString ports.members}
    export PATIENCE=''${PATIENCE:-${toString cfg.patienceSeconds}}
    exec ${pkgs.runtimeShell} ${./members.sh} "$@"
  '';

  healthy = pkgs.writeShellScript "mariadb-healthy" ''
    [ "$(${config.services.mysql.package}/bin/mariadb --no-defaults --socket=/run/mysqld/mysqld.sock \
      --user=machinist-agent --batch --skip-column-names --execute \
      "SELECT GROUP_CONCAT(variable_value ORDER BY variable_name) FROM information_schema.global_status
       WHERE variable_name IN ('wsrep_cluster_status', 'wsrep_local_state', 'wsrep_ready')")" = Primary,4,ON ]
  '';

  database.options.passwordFile = lib.mkOption {
    type = secretPath;
    example = "/run/secrets/shop";
    description = "File on each member with the password of the database's user, who has its name.";
  };
  account = name: _: ''
    password=$(sed "s/[\\\\']/\\\\&/g" "$CREDENTIALS_DIRECTORY/${name}")
    cat <<SQL
    CREATE DATABASE IF NOT EXISTS \`${name}\`;
    CREATE USER IF NOT EXISTS \`${name}\`@'%' IDENTIFIED BY '$password';
    ALTER USER \`${name}\`@'%' IDENTIFIED BY '$password';
    GRANT ALL PRIVILEGES ON \`${name}\`.* TO \`${name}\`@'%';
    SQL
  '';
in
{
  options.machinist.apps.mariadb = {
    databases = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule database);
      default = { };
      example.shop.passwordFile = "/run/secrets/shop";
      description = "Databases, each owned by a user of its name. None is ever deleted.";
    };
    patienceSeconds = lib.mkOption {
      type = lib.types.ints.between 10 3600;
      default = 120;
      description = ''
        Time that a starting member waits for the others' reports before it fails and restarts, and a stopping member
        for starting ones, in seconds.
      '';
    };
    replicatesOver = lib.mkOption {
      type = lib.types.enum [
        "nodes"
        "overlay"
      ];
      default = "nodes";
      description = ''
        Addresses over which members replicate: the nodes' own, unencrypted, or those in the overlay, encrypted if its
        backend is `wireguard`. The same on all members; it cannot be changed member by member while the database
        runs.
      '';
    };
    ports = lib.mapAttrs (_: port: lib.mkOption { type = lib.types.port; } // port) {
      members = {
        default = 4569;
        description = "Port on which a member reports its state to the others.";
      };
      replication = {
        default = 4567;
        description = "Port of the replication; writes that a member missed are sent to the next port.";
      };
      transfer = {
        default = 4444;
        description = "Port on which a new member receives all data.";
      };
    };
  };

  config = {
    machinist.apps.mariadb = {
      group = lib.mkDefault "services";
      port = lib.mkDefault 3306;
      unit = "mysql";
      # The agent's user connects by the socket, authenticated by the system, and has no privileges.
      check.command = [ "${healthy}" ];
      check.intervalMs = lib.mkDefault 1000;
      check.timeoutMs = lib.mkDefault 2000;
      env.prefix = "MARIADB";
      env.protocol = "mysql";
      drainSeconds = lib.mkDefault 5;
      startSeconds = lib.mkDefault 300;
    };

    services.mysql = lib.mkIf cfg.enable {
      enable = true;
      package = lib.mkDefault pkgs.mariadb;
      ensureUsers = [ { name = "machinist-agent"; } ];
      # Not by galeraCluster: it opens the ports to everyone, and keeps the password of transfers in
      # the store.
      settings.mysqld = {
        inherit (cfg) port;
        # The port on 127.0.0.1 is haproxy's.
        bind_address = cfg.address;
        skip_name_resolve = true;
        binlog_format = "ROW";
        default_storage_engine = "InnoDB";
        innodb_autoinc_lock_mode = 2;
        # Without replication, writes would exist on this member only.
        wsrep_on = true;
        wsrep_mode = "STRICT_REPLICATION";
        wsrep_provider = "${pkgs.mariadb-galera}/lib/galera/libgalera_smm.so";
        wsrep_provider_options = lib.concatStringsSep ";" [
          "gmcast.listen_addr=tcp://${host}:${toString ports.replication}"
          "ist.recv_addr=${host}:${toString ports.increment}"
          # members.sh decides before the start which member bootstraps.
          "pc.recovery=no"
        ];
        # The others' addresses are an argument at its start. With this one alone it neither joins
        # nor bootstraps.
        wsrep_cluster_address = "gcomm://${host}:${toString ports.replication}";
        wsrep_cluster_name = config.machinist.cluster.name;
        wsrep_node_name = node.name;
        wsrep_node_address = "${host}:${toString ports.replication}";
        wsrep_sst_method = "mariabackup";
        wsrep_sst_receive_address = "${host}:${toString ports.transfer}";
        # The database's own user, authenticated by the system: no password is needed.
        wsrep_sst_auth = "mysql:";
        # A write to one member is visible on all: connections through the mesh reach a different
        # one each time.
        wsrep_sync_wait = lib.mkDefault 1;
      };
      settings.sst.sockopt = ",bind=${host}";
    };

    environment.systemPackages = lib.mkIf cfg.enable [ program ];
    # Read at its start: a new member restarts no other.
    environment.etc."machinist/mariadb/members" = lib.mkIf cfg.enable {
      text = lib.concatStrings (lib.mapAttrsToList (name: address: "${name} ${address}\n") addresses);
    };

    systemd = lib.mkIf cfg.enable {
      tmpfiles.rules = [ "d ${directory} 0750 mysql mysql -" ];

      services.mysql = {
        wants = [ "mariadb-members.socket" ];
        after = [ "mariadb-members.socket" ];
        # Stopped and started as one restart.
        stopIfChanged = false;
        startLimitIntervalSec = 0;
        path = [
          config.services.mysql.package
          pkgs.bash
          pkgs.gawk
          pkgs.gnutar
          pkgs.gzip
          pkgs.inetutils
          pkgs.iproute2
          pkgs.procps
          pkgs.rsync
          pkgs.socat
          pkgs.which
        ];
        preStart = lib.mkBefore "${members} start";
        # In the variable that NixOS reserves for it. The database's user reads the arguments: as an
        # EnvironmentFile, systemd would read them as root, and pass them to commands of root as
        # well.
        script = lib.mkBefore "_WSREP_NEW_CLUSTER=$(<${directory}/arguments)";
        serviceConfig = {
          ReadWritePaths = [ directory ];
          ExecStop = lib.mkBefore [ "-${members} turn" ];
          ExecStopPost = "-${pkgs.coreutils}/bin/rm -f ${directory}/stopping";
          # Overrides "on-abnormal" and 5 s of NixOS' services.mysql.
          Restart = lib.mkOverride 90 "always";
          RestartSec = lib.mkOverride 90 "1s";
          LimitNOFILE = lib.mkDefault 65536;
          # All data may have to be transferred over the network first.
          TimeoutStartSec = "infinity";
          # Overrides that of modules/apps/unit.nix, which does not account for members that wait
          # for each other.
          TimeoutStopSec = lib.mkOverride 80 (3 * cfg.patienceSeconds + cfg.drainSeconds + 900);
        };
      };

      sockets.mariadb-members = {
        description = "Replication state of the database's member";
        wantedBy = [ "sockets.target" ];
        listenStreams = [ "${host}:${toString ports.members}" ];
        socketConfig = {
          Accept = true;
          FreeBind = true;
          MaxConnections = 64;
        };
      };
      services."mariadb-members@" = {
        description = "Report of the replication state to a member";
        serviceConfig = {
          ExecStart = "-${members} state";
          StandardOutput = "socket";
          User = "mysql";
          TimeoutStartSec = "10s";
          RuntimeMaxSec = "10s";
          LogLevelMax = "warning";
          CollectMode = "inactive-or-failed";
        };
      };
      services.mariadb-watch = {
        description = "Bootstrap of the database after the loss of its majority";
        wantedBy = [ "multi-user.target" ];
        after = [ "mysql.service" ];
        restartTriggers = [ program ];
        serviceConfig = {
          ExecStart = "${members} watch";
          User = "mysql";
          Restart = "always";
          RestartSec = "5s";
        };
      };
      services.mariadb-accounts = lib.mkIf (cfg.databases != { }) {
        description = "Databases and their users";
        wantedBy = [ "multi-user.target" ];
        wants = [ "mysql.service" ];
        after = [ "mysql.service" ];
        path = [
          config.services.mysql.package
          pkgs.coreutils
          pkgs.gnused
        ];
        script = ''
          {
          ${lib.concatStrings (lib.mapAttrsToList account cfg.databases)}
          } | mariadb --no-defaults --socket=/run/mysqld/mysqld.sock
        '';
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          User = "mysql";
          LoadCredential = lib.mapAttrsToList (
            name: database: "${name}:${database.passwordFile}"
          ) cfg.databases;
          Restart = "on-failure";
          RestartSec = "2s";
        };
      };
    };

    machinist.firewall.tcp = lib.mkIf cfg.enable (
      lib.mapAttrs' (
        name: port:
        lib.nameValuePair "mariadb-${name}" {
          inherit port;
          sources = others;
        }
      ) ports
    );

    assertions = lib.mkIf cfg.enable [
      {
        assertion = cfg.members ? ${node.name};
        message =
          "machinist.apps.mariadb runs on ${node.name}, which is not one of its members: name it in apps of the machine in "
          + "machines.nix and run `machinist generate`.";
      }
      {
        assertion =
          cfg.replicatesOver == "nodes"
          || lib.all (name: overlay.nodes ? ${name}) (lib.attrNames cfg.members);
        message =
          "machinist.apps.mariadb.replicatesOver on ${node.name} is overlay, but not every member is in one: set "
          + "network.overlay in machines.nix.";
      }
    ];
    warnings = lib.mkIf (cfg.enable && lib.length (lib.attrNames cfg.members) == 2) [
      "mariadb has two members: when one crashes, the other one has no majority and stops serving too. Place it on three machines."
    ];
  };
}
