# services.postgresql as far as it can be evaluated: settings are checked, and the unit runs the
# machine's own postgres.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.postgresql;
  value =
    v:
    if v == true then
      "yes"
    else if v == false then
      "no"
    else if lib.isString v then
      "'${lib.replaceStrings [ "'" ] [ "''" ] v}'"
    else
      toString v;
  conf = pkgs.writeTextDir "postgresql.conf" (
    lib.concatStringsSep "\n" (lib.mapAttrsToList (name: v: "${name} = ${value v}") (lib.filterAttrs (_: v: v != null) cfg.settings))
  );
in
{
  options.services.postgresql = {
    enable = lib.mkEnableOption "PostgreSQL Server";
    package = mkOption {
      type = types.package;
      default = pkgs.postgresql;
      description = "The package.";
    };
    authentication = mkOption {
      type = types.lines;
      default = "";
      description = "Lines of pg_hba.conf.";
    };
    dataDir = mkOption {
      type = types.path;
      default = "/var/lib/postgresql/17";
      description = "Data directory.";
    };
    enableTCPIP = mkOption {
      type = types.bool;
      default = false;
      description = "Listens on all addresses.";
    };
    ensureDatabases = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Databases that NixOS creates; without effect here.";
    };
    settings = mkOption {
      type = types.submodule {
        freeformType = types.attrsOf (types.oneOf [
          types.bool
          types.float
          types.int
          types.str
        ]);
        options = {
          log_line_prefix = mkOption {
            type = types.str;
            default = "[%p] ";
            description = "Prefix of log lines.";
          };
          port = mkOption {
            type = types.port;
            default = 5432;
            description = "Its port.";
          };
          shared_preload_libraries = mkOption {
            type = types.nullOr (types.coercedTo (types.listOf types.str) (lib.concatStringsSep ",") types.commas);
            default = null;
            description = "Libraries that are loaded.";
          };
        };
      };
      default = { };
      description = "Settings.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.postgresql = {
      authentication = lib.mkAfter ''
        local all postgres peer
        local all all peer
        host all all 127.0.0.1/32 md5
        host all all ::1/128 md5
      '';
      settings = {
        hba_file = "${pkgs.writeText "pg_hba.conf" cfg.authentication}";
        listen_addresses = if cfg.enableTCPIP then "*" else "localhost";
        log_destination = "stderr";
      };
    };
    systemd.services.postgresql = {
      description = "PostgreSQL Server";
      after = [ "network.target" ];
      wantedBy = [ "multi-user.target" ];
      environment.PGDATA = cfg.dataDir;
      path = [ cfg.package ];
      preStart = ''
        test -e ${cfg.dataDir}/PG_VERSION || initdb -U postgres
        ln -sfn ${conf}/postgresql.conf ${cfg.dataDir}/postgresql.conf
      '';
      serviceConfig = {
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        ExecStart = "${cfg.package}/bin/postgres";
        Group = "postgres";
        KillMode = "mixed";
        KillSignal = "SIGINT";
        Restart = "always";
        RuntimeDirectory = "postgresql";
        StateDirectory = "postgresql postgresql/17";
        StateDirectoryMode = "0700";
        TimeoutSec = 120;
        Type = "notify";
        User = "postgres";
      };
    };
    users.groups.postgres = { };
    users.users.postgres = {
      isSystemUser = true;
      group = "postgres";
      home = "/var/lib/postgresql";
    };
  };
}
