# journald, resolved, timesyncd, logind and zram: settings files of systemd's own daemons.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services;
  systemdOption = types.attrsOf (types.mkOptionType {
    name = "systemd option";
    merge = lib.mergeEqualOption;
  });
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  lines =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };
  section =
    description:
    mkOption {
      type = types.submodule { freeformType = systemdOption; };
      default = { };
      inherit description;
    };
  value = v: if builtins.isBool v then lib.boolToString v else toString v;
  keys = attrs: lib.concatStrings (lib.mapAttrsToList (k: v: lib.concatMapStrings (x: "${k}=${value x}\n") (lib.toList v)) attrs);
  servers =
    default: text: description:
    mkOption {
      type = types.nullOr (types.listOf types.str);
      inherit default description;
      defaultText = text;
    };
in
{
  options = {
    services = {
      journald = {
        storage = mkOption {
          type = types.enum [ "persistent" "volatile" "auto" "none" ];
          default = "persistent";
          description = "Storage of the journal.";
        };
        rateLimitInterval = mkOption {
          type = types.str;
          default = "30s";
          description = "The interval of the rate limit.";
        };
        rateLimitBurst = mkOption {
          type = types.int;
          default = 10000;
          description = "Number of messages accepted per interval.";
        };
        extraConfig = lines "More lines of journald.conf.";
      };
      resolved = {
        enable = flag false "Whether systemd-resolved resolves names.";
        settings.Resolve = section "The [Resolve] section of resolved.conf.";
      };
      timesyncd = {
        # Off in a container, as in nixpkgs.
        enable = mkOption {
          type = types.bool;
          default = !config.boot.isContainer;
          defaultText = lib.literalExpression "!config.boot.isContainer";
          description = "Synchronises the clock with systemd-timesyncd.";
        };
        servers = servers null (lib.literalMD "null") "NTP servers.";
        fallbackServers = servers config.networking.timeServers (lib.literalExpression "config.networking.timeServers") "NTP servers where no other is known.";
        settings.Time = section "The [Time] section of timesyncd.conf.";
      };
      logind.settings.Login = section "The [Login] section of logind.conf.";
    };
    zramSwap = {
      enable = flag false "Whether there is swap in compressed memory; without effect here.";
      memoryPercent = mkOption {
        type = types.ints.positive;
        default = 50;
        description = "Size in percent of the memory.";
      };
      algorithm = mkOption {
        type = types.either (types.enum [ "842" "lzo" "lzo-rle" "lz4" "lz4hc" "zstd" ]) types.str;
        default = "zstd";
        description = "Compression algorithm.";
      };
    };
  };

  config = {
    environment.etc = {
      "systemd/journald.conf".text = ''
        [Journal]
        Storage=${cfg.journald.storage}
        RateLimitInterval=${cfg.journald.rateLimitInterval}
        RateLimitBurst=${toString cfg.journald.rateLimitBurst}
        ${cfg.journald.extraConfig}
      '';
    }
    // lib.optionalAttrs (cfg.logind.settings.Login != { }) {
      "systemd/logind.conf".text = "[Login]\n" + keys cfg.logind.settings.Login;
    }
    // lib.optionalAttrs cfg.resolved.enable {
      "systemd/resolved.conf".text = "[Resolve]\n" + keys cfg.resolved.settings.Resolve;
      "resolv.conf" = {
        source = "/run/systemd/resolve/stub-resolv.conf";
        mode = "direct-symlink";
      };
    }
    // lib.optionalAttrs cfg.timesyncd.enable {
      "systemd/timesyncd.conf".text = "[Time]\n" + keys cfg.timesyncd.settings.Time;
    };

    services.resolved.settings.Resolve = lib.mkIf (config.networking.nameservers != [ ]) {
      DNS = lib.mkDefault (toString config.networking.nameservers);
    };
    services.timesyncd.settings.Time = lib.mkMerge [
      (lib.mkIf (cfg.timesyncd.servers != null) { NTP = lib.mkDefault (toString cfg.timesyncd.servers); })
      (lib.mkIf (cfg.timesyncd.fallbackServers != null) {
        FallbackNTP = lib.mkDefault (toString cfg.timesyncd.fallbackServers);
      })
    ];

    systemd.services = {
      systemd-journald = {
        stopIfChanged = false;
        restartTriggers = [ config.environment.etc."systemd/journald.conf".source ];
      };
      systemd-resolved = lib.mkIf cfg.resolved.enable {
        wantedBy = [ "sysinit.target" ];
        stopIfChanged = false;
        restartTriggers = [ config.environment.etc."systemd/resolved.conf".source ];
      };
      systemd-timesyncd = lib.mkIf cfg.timesyncd.enable {
        wantedBy = [ "sysinit.target" ];
        restartTriggers = [ config.environment.etc."systemd/timesyncd.conf".source ];
      };
    };
  };
}
