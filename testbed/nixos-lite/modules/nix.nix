{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.nix;

  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  strings =
    default: description:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
    };

  atomText = "Nix config atom (null, bool, int, float, str, path or package)";
  atom = types.nullOr (
    types.oneOf [
      types.bool
      types.int
      types.float
      types.str
      types.path
      types.package
    ]
  ) // {
    description = atomText;
  };
  confType = types.attrsOf (types.either atom (types.listOf atom));
  text =
    v:
    if v == null then
      ""
    else if builtins.isBool v then
      lib.boolToString v
    else if builtins.isList v then
      lib.concatMapStringsSep " " text v
    else if builtins.isFloat v then
      lib.strings.floatToString v
    else
      toString v;

  schedule = what: dates: delay: options: {
    automatic = flag false "Whether ${what} automatically.";
    dates = mkOption {
      type = with types; either singleLineStr (listOf str);
      default = dates;
      apply = lib.toList;
      description = "When.";
    };
    persistent = flag true "Whether a time that was missed is made up for.";
    randomizedDelaySec = mkOption {
      type = types.singleLineStr;
      default = delay;
      description = "A random delay.";
    };
  } // options;
  timer = what: command: c: {
    services."nix-${what}" = {
      description = if what == "gc" then "Nix Garbage Collector" else "Nix Store Optimiser";
      script = command;
      serviceConfig.Type = "oneshot";
      startAt = lib.optionals c.automatic c.dates;
      restartIfChanged = false;
    };
    timers."nix-${what}" = lib.mkIf c.automatic {
      timerConfig = {
        RandomizedDelaySec = c.randomizedDelaySec;
        Persistent = c.persistent;
      };
    };
  };
  reference = with types; attrsOf (oneOf [ str int bool path package ]);
in
{
  imports =
    [
      (lib.mkRemovedOptionModule [ "nix" "daemonNiceLevel" ] "Consider nix.daemonCPUSchedPolicy instead.")
    ]
    ++ lib.mapAttrsToList (old: new: lib.mkRenamedOptionModule [ "nix" old ] [ "nix" "settings" new ]) {
      allowedUsers = "allowed-users";
      autoOptimiseStore = "auto-optimise-store";
      binaryCachePublicKeys = "trusted-public-keys";
      binaryCaches = "substituters";
      buildCores = "cores";
      maxJobs = "max-jobs";
      requireSignedBinaryCaches = "require-sigs";
      systemFeatures = "system-features";
      trustedBinaryCaches = "trusted-substituters";
      trustedUsers = "trusted-users";
      useSandbox = "sandbox";
    };

  options.nix = {
    enable = flag true "Whether Nix is on the machine.";
    package = mkOption {
      type = types.package;
      default = pkgs.nix;
      defaultText = lib.literalExpression "pkgs.nix";
      description = "The Nix package.";
    };
    checkConfig = flag true "Whether nix.conf is checked when it is built; without effect here.";
    checkAllErrors = flag true "Whether that check fails for every error; without effect here.";
    channel.enable = flag true "Whether channels are used; without effect here.";
    distributedBuilds = flag false "Whether builds are given to other machines.";
    extraOptions = mkOption {
      type = types.lines;
      default = "";
      description = "More text of nix.conf.";
    };
    nixPath = strings [ ] "Where Nix looks for channels.";
    registry = mkOption {
      type = types.attrsOf (
        types.submodule (
          { config, name, ... }:
          {
            options = {
              from = mkOption {
                type = reference;
                example = { type = "indirect"; id = "nixpkgs"; };
                description = "The reference that is rewritten.";
              };
              to = mkOption {
                type = reference;
                description = "Target of the rewrite.";
              };
              flake = mkOption {
                type = types.nullOr types.attrs;
                default = null;
                description = "The flake that it is rewritten to.";
              };
              exact = flag true "Whether only the exact reference is rewritten.";
            };
            config = {
              from = lib.mkDefault { type = "indirect"; id = name; };
              to = lib.mkIf (config.flake != null) (
                lib.mkDefault (
                  {
                    type = "path";
                    path = config.flake.outPath;
                  }
                  // lib.filterAttrs (n: _: lib.elem n [ "lastModified" "rev" "revCount" "narHash" ]) config.flake
                )
              );
            };
          }
        )
      );
      default = { };
      description = "The machine's flake registry.";
    };
    gc = schedule "garbage is collected" [ "03:15" ] "0" {
      options = mkOption {
        type = types.singleLineStr;
        default = "";
        description = "Options of nix-collect-garbage.";
      };
    };
    optimise = schedule "the store is optimised" [ "03:45" ] "1800" { };
    settings = mkOption {
      type = types.submodule {
        freeformType = confType;
        options = {
          max-jobs = mkOption {
            type = types.either types.int (types.enum [ "auto" ]);
            default = "auto";
            description = "Number of simultaneous builds.";
          };
          auto-optimise-store = flag false "Whether equal files are linked.";
          cores = mkOption {
            type = types.int;
            default = 0;
            description = "Number of cores per build, 0 for all.";
          };
          sandbox = mkOption {
            type = types.either types.bool (types.enum [ "relaxed" ]);
            default = true;
            description = "Isolates builds.";
          };
          extra-sandbox-paths = strings [ ] "Paths that isolated builds see.";
          substituters = strings [ ] "Binary caches.";
          trusted-substituters = strings [ ] "Binary caches that users may choose.";
          require-sigs = flag true "Whether store paths must be signed.";
          trusted-public-keys = strings [ ] "Keys of binary caches.";
          trusted-users = strings [ ] "Users that may do all.";
          system-features = strings [ ] "Features of this machine.";
          allowed-users = strings [ "*" ] "Users that may use Nix.";
        };
      };
      default = { };
      description = "Settings of nix.conf.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."nix/nix.conf".text =
      ''
        # WARNING: this file is generated from the nix.* options in
        # your NixOS configuration, typically
        # /etc/nixos/configuration.nix.  Do not edit it!
      ''
      + lib.concatStrings (lib.mapAttrsToList (k: v: "${k} = ${text v}\n") cfg.settings)
      + cfg.extraOptions;
    environment.etc."nix/registry.json" = lib.mkIf (cfg.registry != { }) {
      text = builtins.toJSON {
        version = 2;
        flakes = lib.mapAttrsToList (_: v: { inherit (v) from to exact; }) cfg.registry;
      };
    };
    # A nixos-lite machine has no network, no build users and no signing key of the operator: only
    # the default values differ from nixpkgs, so a configuration that sets them takes effect.
    nix.settings = {
      sandbox = lib.mkDefault false;
      require-sigs = lib.mkDefault false;
      build-users-group = lib.mkDefault "";
      trusted-users = [ "root" ];
    };
    systemd = lib.mkMerge [
      (timer "gc" "exec ${cfg.package}/bin/nix-collect-garbage ${cfg.gc.options}" cfg.gc)
      (timer "optimise" "exec ${cfg.package}/bin/nix-store --optimise" cfg.optimise)
    ];
  };
}
