# services.mysql for MariaDB: options as in NixOS, and a unit that runs the machine's own server the way NixOS's does.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.mysql;
  format = pkgs.formats.ini { listsAsDuplicateKeys = true; };
  arguments = "--user=${cfg.user} --datadir=${cfg.dataDir}";
  client = "${cfg.package}/bin/mariadb -N";

  text = default: description: mkOption {
    type = types.str;
    inherit default description;
  };
  user.options = {
    name = mkOption {
      type = types.str;
      description = "Name of the user, whom the system vouches for.";
    };
    ensurePermissions = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "By database and tables, what the user may do there.";
    };
  };
in
{
  options.services.mysql = {
    enable = lib.mkEnableOption "MySQL server";
    package = mkOption {
      type = types.package;
      description = "Package of the server.";
    };
    configFile = mkOption {
      type = types.path;
      default = format.generate "my.cnf" cfg.settings;
      description = "The configuration file.";
    };
    dataDir = mkOption {
      type = types.path;
      default = "/var/lib/mysql";
      description = "Data directory.";
    };
    user = text "mysql" "User that it runs as.";
    group = text "mysql" "Group that it runs as.";
    ensureDatabases = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Databases that are created.";
    };
    ensureUsers = mkOption {
      type = types.listOf (types.submodule user);
      default = [ ];
      description = "Users that are created.";
    };
    settings = mkOption {
      inherit (format) type;
      default = { };
      description = "Sections of the configuration file.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc."my.cnf".source = cfg.configFile;
    environment.systemPackages = [ cfg.package ];
    services.mysql.settings.mysqld = {
      datadir = cfg.dataDir;
      port = lib.mkDefault 3306;
    };

    systemd.services.mysql = {
      description = "MySQL Server";
      after = [ "network.target" ];
      wantedBy = [ "multi-user.target" ];
      path = [ pkgs.hostname ];
      restartTriggers = [ cfg.configFile ];
      unitConfig.RequiresMountsFor = cfg.dataDir;
      preStart = ''
        if ! test -e ${cfg.dataDir}/mysql; then
          ${cfg.package}/bin/mariadb-install-db --defaults-file=/etc/my.cnf ${arguments}
          touch ${cfg.dataDir}/mysql_init
        fi
      '';
      script = ''
        exec ${cfg.package}/bin/mariadbd --defaults-file=/etc/my.cnf ${arguments} $_WSREP_NEW_CLUSTER $_WSREP_START_POSITION
      '';
      # A database that joins others has its own users only when it has caught up.
      postStart = ''
        if ${client} -e "SHOW VARIABLES LIKE 'wsrep_on'" 2>/dev/null | ${pkgs.gnugrep}/bin/grep -q ON; then
          until [ "$(${client} -e "SHOW STATUS LIKE 'wsrep_local_state_comment'" | ${pkgs.gawk}/bin/awk '{ print $2 }')" = Synced ]; do
            sleep 1
          done
        fi
        rm -f ${cfg.dataDir}/mysql_init
        {
          ${lib.concatMapStrings (name: "echo 'CREATE DATABASE IF NOT EXISTS `${name}`;'\n") cfg.ensureDatabases}
          ${lib.concatMapStrings (user: ''
            echo "CREATE USER IF NOT EXISTS '${user.name}'@'localhost' IDENTIFIED WITH unix_socket;"
            ${lib.concatStrings (
              lib.mapAttrsToList (tables: rights: ''
                echo "GRANT ${rights} ON ${tables} TO '${user.name}'@'localhost';"
              '') user.ensurePermissions
            )}
          '') cfg.ensureUsers}
        } | ${client}
      '';
      serviceConfig = {
        Type = "notify";
        User = cfg.user;
        Group = cfg.group;
        Restart = "on-abnormal";
        RestartSec = "5s";
        RuntimeDirectory = "mysqld";
        RuntimeDirectoryMode = "0755";
        StateDirectory = lib.mkIf (cfg.dataDir == "/var/lib/mysql") "mysql";
        StateDirectoryMode = lib.mkIf (cfg.dataDir == "/var/lib/mysql") "0700";
        CapabilityBoundingSet = "";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateMounts = true;
        PrivateTmp = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectSystem = "strict";
        ReadWritePaths = [ cfg.dataDir ];
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
        ];
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
      };
    };

    systemd.tmpfiles.rules = [ "d ${cfg.dataDir} 0755 ${cfg.user} ${cfg.group} - -" ];
    users.groups.mysql = lib.mkIf (cfg.group == "mysql") { };
    users.users.mysql = lib.mkIf (cfg.user == "mysql") {
      isSystemUser = true;
      inherit (cfg) group;
      description = "MySQL server user";
    };
  };
}
