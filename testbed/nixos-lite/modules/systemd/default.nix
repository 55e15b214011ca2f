{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.systemd;

  kinds = import ./unit-options.nix {
    inherit lib pkgs utils;
    systemdConfig = cfg;
  };
  render = import ./render.nix {
    inherit lib;
    inherit (cfg) globalEnvironment;
  };
  upstream = lib.genAttrs (import ./upstream-units.nix ++ cfg.additionalUpstreamSystemUnits) (_: true);

  envType =
    with types;
    attrsOf (
      nullOr (oneOf [
        str
        path
        package
      ])
    );
  sectionType = types.submodule { freeformType = types.attrsOf kinds.unitOption; };
  units =
    type: description:
    mkOption {
      inherit type description;
      default = { };
    };
  unitList =
    type: description:
    mkOption {
      inherit type description;
      default = [ ];
    };

  asUnit =
    text: def:
    lib.nameValuePair def.name {
      inherit (def)
        name
        enable
        overrideStrategy
        aliases
        wantedBy
        requiredBy
        upheldBy
        ;
      text = text def;
    };
  ofSet = text: set: lib.mapAttrsToList (_: asUnit text) set;

  enabledUnits = builtins.removeAttrs cfg.units cfg.suppressedSystemUnits;

  # Shell commands that write one unit and its links below etc/systemd/system of the system.
  unitFile =
    name: unit:
    let
      arg = lib.escapeShellArg;
      dropIn = unit.overrideStrategy == "asDropin" || upstream ? ${name};
      file = if dropIn && unit.enable then "${name}.d/overrides.conf" else name;
      links =
        suffix: targets:
        lib.concatMapStrings (target: ''
          mkdir -p ${arg "${target}.${suffix}"}
          ln -sfn ${arg "../${name}"} ${arg "${target}.${suffix}/${name}"}
        '') targets;
    in
    (
      if !unit.enable then
        "ln -s /dev/null ${arg name}\n"
      else if unit.text == null then
        ""
      else
        lib.optionalString dropIn "mkdir -p ${arg "${name}.d"}\n" + "printf '%s' ${arg unit.text} > ${arg file}\n"
    )
    + lib.concatMapStrings (alias: "ln -sfn ${arg name} ${arg alias}\n") unit.aliases
    + links "wants" unit.wantedBy
    + links "requires" unit.requiredBy
    + links "upholds" unit.upheldBy;

  # NixOS' warnings, such as "after network-online.target without wanting it".
  serviceWarnings =
    name: service:
    let
      type = service.serviceConfig.Type or "";
      restart = service.serviceConfig.Restart or "no";
    in
    lib.optional (type == "oneshot" && (restart == "always" || restart == "on-success"))
      "Service '${name}.service' with 'Type=oneshot' cannot have 'Restart=always' or 'Restart=on-success'"
    ++ lib.optional (service.reloadIfChanged && service.reloadTriggers != [ ])
      "Service '${name}.service' has both 'reloadIfChanged' and 'reloadTriggers' set. This is probably not what you want, because 'reloadTriggers' behave the same whay as 'restartTriggers' if 'reloadIfChanged' is set."
    ++ lib.optional (
      lib.elem "network-online.target" service.after
      && !(lib.elem "network-online.target" (service.wants ++ service.requires ++ service.bindsTo))
    ) "${name}.service is ordered after 'network-online.target' but doesn't depend on it";
in
{
  options.systemd = {
    package = lib.mkPackageOption pkgs "systemd" { };
    services = units kinds.services "Service units.";
    sockets = units kinds.sockets "Socket units.";
    targets = units kinds.targets "Target units.";
    timers = units kinds.timers "Timer units.";
    paths = units kinds.paths "Path units.";
    slices = units kinds.slices "Slice units.";
    mounts = unitList kinds.mounts "Mount units.";
    automounts = unitList kinds.automounts "Automount units.";
    units = mkOption {
      type = types.attrsOf (
        types.submodule (
          { name, ... }:
          {
            options = kinds.shared // {
              text = mkOption {
                type = types.nullOr types.str;
                default = null;
                description = "Text of the unit file.";
              };
            };
            config.name = lib.mkDefault name;
          }
        )
      );
      default = { };
      description = "All units, as text.";
    };
    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages with units; nixos-lite uses no units of packages.";
    };
    defaultUnit = mkOption {
      type = types.str;
      default = "multi-user.target";
      description = "The unit to start at boot.";
    };
    globalEnvironment = mkOption {
      type = envType;
      default = { };
      description = "Environment variables of all units.";
    };
    managerEnvironment = mkOption {
      type = envType;
      default = { };
      description = "Environment variables of systemd itself; without effect here.";
    };
    enableStrictShellChecks = mkOption {
      type = types.bool;
      default = false;
      description = "Runs shellcheck over the scripts of units in nixpkgs; without effect here.";
    };
    enableEmergencyMode = mkOption {
      type = types.bool;
      default = true;
      description = "Enters emergency mode after a failure at boot; without effect here.";
    };
    additionalUpstreamSystemUnits = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "More units of systemd that are extended rather than replaced.";
    };
    suppressedSystemUnits = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Units to leave out.";
    };
    settings.Manager = mkOption {
      type = sectionType;
      default = { };
      description = "The [Manager] section of system.conf.";
    };
    coredump.enable = mkOption {
      type = types.bool;
      default = true;
      description = "Handles core dumps with systemd-coredump; without effect here.";
    };
  };

  config = {
    systemd = {
      settings.Manager = {
        DefaultIOAccounting = lib.mkDefault true;
        DefaultIPAccounting = lib.mkDefault true;
      };

      timers = builtins.mapAttrs (_: service: {
        wantedBy = [ "timers.target" ];
        timerConfig.OnCalendar = service.startAt;
      }) (lib.filterAttrs (_: service: service.enable && service.startAt != [ ]) cfg.services);

      # Restarted by each switch, so that units ordered before sysinit.target come back in their order.
      targets.sysinit-reactivation.description = "Reactivate sysinit units";

      units = lib.listToAttrs (
        ofSet render.service cfg.services
        ++ ofSet render.socket cfg.sockets
        ++ ofSet render.target cfg.targets
        ++ ofSet render.timer cfg.timers
        ++ ofSet render.path cfg.paths
        ++ ofSet render.slice cfg.slices
        ++ map (asUnit render.mount) cfg.mounts
        ++ map (asUnit render.automount) cfg.automounts
      );
    };

    boot.kernel.sysctl = {
      "kernel.pid_max" = lib.mkDefault 4194304;
      "kernel.poweroff_cmd" = "${cfg.package}/sbin/poweroff";
    };
    environment.systemPackages = [ cfg.package ];
    environment.etc = {
      "systemd/system.conf".text = "[Manager]\n" + render.keys cfg.settings.Manager;
      # systemd must not enable or disable units by itself.
      "systemd/system-preset/00-nixos.preset".text = "ignore *\n";
    };

    system.build.units = enabledUnits;
    system.build.unitCommands = ''
      cd etc/systemd/system
      ${lib.concatStrings (lib.mapAttrsToList unitFile enabledUnits)}
      ln -sfn ${lib.optionalString (upstream ? ${cfg.defaultUnit}) "/usr/lib/systemd/system/"}${cfg.defaultUnit} default.target
      cd "$out"
    '';

    warnings = lib.concatLists (lib.mapAttrsToList serviceWarnings cfg.services);
  };
}
