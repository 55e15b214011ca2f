# BIRD. The configuration is not checked at build time: the check would use another version than the
# machine's.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.bird;
  program = name: lib.getExe' cfg.package name;
  capabilities = [
    "CAP_NET_ADMIN"
    "CAP_NET_BIND_SERVICE"
    "CAP_NET_RAW"
  ];
in
{
  options.services.bird = {
    enable = lib.mkEnableOption "BIRD Internet Routing Daemon";
    package = lib.mkPackageOption pkgs "bird3" { };
    config = mkOption {
      type = types.lines;
      description = "The configuration file.";
    };
    autoReload = mkOption {
      type = types.bool;
      default = true;
      description = "Reloads BIRD when the configuration changes.";
    };
    checkConfig = mkOption {
      type = types.bool;
      default = true;
      description = "Has no effect here.";
    };
    preCheckConfig = mkOption {
      type = types.lines;
      default = "";
      description = "Has no effect here.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc."bird/bird.conf".source = pkgs.writeText "bird" cfg.config;
    environment.systemPackages = [ cfg.package ];

    systemd.services.bird = {
      description = "BIRD Internet Routing Daemon";
      after = [ "network.target" ];
      wantedBy = [ "multi-user.target" ];
      reloadTriggers = lib.optional cfg.autoReload config.environment.etc."bird/bird.conf".source;
      serviceConfig = {
        AmbientCapabilities = capabilities;
        CapabilityBoundingSet = capabilities;
        ExecReload = "${program "birdc"} configure";
        ExecStart = "${program "bird"} -c /etc/bird/bird.conf";
        ExecStop = "${program "birdc"} down";
        Group = "bird";
        MemoryDenyWriteExecute = "yes";
        PrivateDevices = true;
        PrivateTmp = true;
        ProtectControlGroups = true;
        ProtectHome = "yes";
        ProtectKernelTunables = true;
        ProtectSystem = "full";
        Restart = "on-failure";
        RuntimeDirectory = "bird";
        SystemCallFilter = "~@cpu-emulation @debug @keyring @module @mount @obsolete @raw-io";
        Type = "forking";
        User = "bird";
      };
    };

    users.users.bird = {
      description = "BIRD Internet Routing Daemon user";
      group = "bird";
      isSystemUser = true;
    };
    users.groups.bird = { };
  };
}
