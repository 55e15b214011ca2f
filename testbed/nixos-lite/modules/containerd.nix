{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.virtualisation.containerd;
  toml = pkgs.formats.toml { };
in
{
  options.virtualisation.containerd = {
    enable = lib.mkEnableOption "containerd container runtime";
    args = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Flags.";
    };
    configFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "The configuration file, instead of the settings.";
    };
    settings = mkOption {
      type = toml.type;
      default = { };
      description = "The configuration.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ pkgs.containerd ];
    virtualisation.containerd = {
      # Not checked at build time: that needs the machine's own containerd.
      args.config = toString (
        if cfg.configFile == null then toml.generate "containerd.toml" cfg.settings else cfg.configFile
      );
      settings = {
        version = 2;
        plugins."io.containerd.grpc.v1.cri".cni.bin_dir = lib.mkOptionDefault "${pkgs.cni-plugins}/bin";
      };
    };
    systemd.services.containerd = {
      description = "containerd - container runtime";
      wantedBy = [ "multi-user.target" ];
      after = [
        "network.target"
        "local-fs.target"
        "dbus.service"
      ];
      path = [
        pkgs.containerd
        pkgs.runc
        pkgs.iptables
      ];
      serviceConfig = {
        ExecStart = "${pkgs.containerd}/bin/containerd ${
          lib.concatStringsSep " " (lib.mapAttrsToList (name: value: "--${name}=${value}") cfg.args)
        }";
        Delegate = "yes";
        KillMode = "process";
        Type = "notify";
        Restart = "always";
        RestartSec = "10";
        LimitNPROC = "infinity";
        LimitCORE = "infinity";
        TasksMax = "infinity";
        OOMScoreAdjust = "-999";
        StateDirectory = "containerd";
        RuntimeDirectory = "containerd";
        RuntimeDirectoryPreserve = "yes";
      };
      unitConfig = {
        StartLimitBurst = "16";
        StartLimitIntervalSec = "120s";
      };
    };
  };
}
