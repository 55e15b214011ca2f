# Option sets of each kind of unit, as submodule modules, with the sections derived from them.
{
  lib,
  pkgs,
  utils,
  systemdConfig,
}:
let
  inherit (lib)
    literalExpression
    mkIf
    mkMerge
    mkOption
    types
    ;

  unitName = types.strMatching "[a-zA-Z0-9@%:_.\\-]+[.](service|socket|device|mount|automount|swap|target|path|timer|scope|slice)";

  # A value of a unit file: one value, or a list for a key that is repeated.
  unitOption = types.mkOptionType {
    name = "systemd option";
    merge =
      loc: defs:
      let
        defs' = lib.filterOverrides defs;
        isList = def: builtins.isList def.value;
      in
      if lib.all isList defs' then
        lib.concatMap (def: def.value) defs'
      else if lib.any isList defs' then
        throw "The definitions for systemd unit options should be either all lists, representing repeatable options, or all non-lists, but for the option ${lib.showOption loc}, the definitions are a mix of list and non-list ${lib.options.showDefs defs'}"
      else
        lib.mergeEqualOption loc defs';
  };

  # A section of a unit file whose keys with a known set of values are checked.
  section =
    checks:
    types.addCheck (types.attrsOf unitOption) (
      attrs:
      let
        plain = v: if v._type or "" == "override" || v._type or "" == "if" then v.content else v;
        wrong = lib.filterAttrs (key: values: attrs ? ${key} && !lib.elem (plain attrs.${key}) values) checks;
      in
      wrong == { }
      || builtins.trace (lib.concatStringsSep "\n" (
        lib.mapAttrsToList (
          key: _: "Systemd Service field `${key}' cannot have value `${toString (plain attrs.${key})}'."
        ) wrong
      )) false
    );

  units =
    description:
    mkOption {
      type = types.listOf unitName;
      default = [ ];
      inherit description;
    };

  unitConfigOption =
    description:
    mkOption {
      type = types.attrsOf unitOption;
      default = { };
      inherit description;
    };

  job =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };

  shared = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Enables the unit; otherwise it is a link to /dev/null.";
    };
    overrideStrategy = mkOption {
      type = types.enum [
        "asDropinIfExists"
        "asDropin"
      ];
      default = "asDropinIfExists";
      description = "Form of the unit: a drop-in file if systemd has a unit of that name, or always.";
    };
    requiredBy = units "Units that require this one: `.requires` links.";
    upheldBy = units "Units that keep this one running: `.upholds` links.";
    wantedBy = units "Units that want this one: `.wants` links.";
    aliases = units "Other names of the unit.";
    name = mkOption {
      type = types.str;
      description = "The unit's name with its suffix.";
    };
  };

  common = {
    options = shared // {
      description = mkOption {
        type = types.singleLineStr;
        default = "";
        description = "Description of this unit.";
      };
      documentation = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "URIs of documentation.";
      };
      requires = units "Units to start with this one; it stops with them.";
      wants = units "Units to start with this one.";
      upholds = units "Units to keep running while this one does.";
      after = units "Units to start before this one.";
      before = units "Units to start after this one.";
      bindsTo = units "Like `requires`, also when they vanish.";
      partOf = units "Units whose stop or restart is this one's too.";
      conflicts = units "Units that cannot run with this one.";
      requisite = units "Units that must already run.";
      onFailure = units "Units to start when this one fails.";
      onSuccess = units "Units to start when this one ends well.";
      unitConfig = unitConfigOption "The [Unit] section.";
      startLimitBurst = mkOption {
        type = types.int;
        description = "Number of starts allowed per interval.";
      };
      startLimitIntervalSec = mkOption {
        type = types.int;
        description = "The interval of start rate limiting, in seconds.";
      };
      restartTriggers = mkOption {
        type = types.listOf types.unspecified;
        default = [ ];
        description = "Values whose change restarts the unit.";
      };
      reloadTriggers = mkOption {
        type = types.listOf unitOption;
        default = [ ];
        description = "Values whose change reloads the unit.";
      };
    };
  };

  # The [Unit] section derived from the options above.
  unitSection =
    {
      config,
      name,
      options,
      ...
    }:
    let
      text = value: mkIf (value != [ ]) (toString value);
      triggers =
        kind: values:
        mkIf (values != [ ]) "${pkgs.writeText "${kind}-${name}" (
          toString (map (x: if builtins.isPath x then "${x}" else x) (lib.flatten values))
        )}";
      keys = lib.filterAttrs (_: v: v.condition or true) {
        Requires = text config.requires;
        Wants = text config.wants;
        Upholds = text config.upholds;
        After = text config.after;
        Before = text config.before;
        BindsTo = text config.bindsTo;
        PartOf = text config.partOf;
        Conflicts = text config.conflicts;
        Requisite = text config.requisite;
        X-Restart-Triggers = triggers "X-Restart-Triggers" config.restartTriggers;
        X-Reload-Triggers = triggers "X-Reload-Triggers" config.reloadTriggers;
        Description = mkIf (config.description != "") config.description;
        Documentation = text config.documentation;
        OnFailure = text config.onFailure;
        OnSuccess = text config.onSuccess;
        StartLimitIntervalSec = mkIf options.startLimitIntervalSec.isDefined (toString config.startLimitIntervalSec);
        StartLimitBurst = mkIf options.startLimitBurst.isDefined (toString config.startLimitBurst);
      };
    in
    {
      config.unitConfig = keys;
    };

  # A shell script of a unit, named like the unit and the step.
  jobScript =
    name: text:
    let
      scriptName = lib.replaceStrings [ "\\" "@" ] [ "-" "_" ] name;
    in
    "${
      pkgs.writeTextFile {
        name = "unit-script-${scriptName}";
        executable = true;
        destination = "/bin/${scriptName}";
        text = "#!${pkgs.runtimeShell}\nset -e\n\n${text}\n";
      }
    }/bin/${scriptName}";

  named = suffix: { name, ... }: { config.name = "${name}.${suffix}"; };

  service =
    { name, config, ... }:
    {
      options = {
        environment = mkOption {
          type =
            with types;
            attrsOf (
              nullOr (oneOf [
                str
                path
                package
              ])
            );
          default = { };
          description = "Environment variables of the service's processes.";
        };
        path = mkOption {
          type =
            with types;
            listOf (oneOf [
              package
              str
            ]);
          default = [ ];
          description = "Packages whose programs are in the service's PATH.";
        };
        enableDefaultPath = mkOption {
          type = types.bool;
          default = true;
          description = "Adds coreutils, findutils, grep, sed and systemd to PATH.";
        };
        enableStrictShellChecks = mkOption {
          type = types.bool;
          default = systemdConfig.enableStrictShellChecks;
          defaultText = literalExpression "config.systemd.enableStrictShellChecks";
          description = "Runs shellcheck over the scripts in nixpkgs; without effect here.";
        };
        serviceConfig = mkOption {
          type = section {
            Type = [ "exec" "simple" "forking" "oneshot" "dbus" "notify" "notify-reload" "idle" ];
            Restart = [ "no" "on-success" "on-failure" "on-abnormal" "on-abort" "always" "on-watchdog" ];
          };
          default = { };
          description = "The [Service] section.";
        };
        script = job "Shell commands of the main process.";
        scriptArgs = mkOption {
          type = types.str;
          default = "";
          description = "Arguments of the main process's script.";
        };
        preStart = job "Shell commands before the main process.";
        postStart = job "Shell commands after the main process has started.";
        reload = job "Shell commands that reload the service.";
        preStop = job "Shell commands that stop the service.";
        postStop = job "Shell commands after the main process has ended.";
        restartIfChanged = mkOption {
          type = types.bool;
          default = true;
          description = "Restarts the service at a switch if it has changed.";
        };
        reloadIfChanged = mkOption {
          type = types.bool;
          default = false;
          description = "Reloads the service at a switch if it has changed.";
        };
        stopIfChanged = mkOption {
          type = types.bool;
          default = true;
          description = "Applies a change as a stop with the old configuration and a start with the new one, instead of a restart.";
        };
        notSocketActivated = mkOption {
          type = types.bool;
          default = false;
          description = "Restarts the service although it has a socket unit.";
        };
        startAt = mkOption {
          type = with types; either str (listOf str);
          default = [ ];
          apply = lib.toList;
          description = "When a timer starts the service.";
        };
      };
      config = mkMerge [
        {
          name = "${name}.service";
          path = mkIf config.enableDefaultPath (
            lib.mkAfter [
              pkgs.coreutils
              pkgs.findutils
              pkgs.gnugrep
              pkgs.gnused
              systemdConfig.package
            ]
          );
          environment.PATH = mkIf (config.path != [ ]) "${lib.makeBinPath config.path}:${lib.makeSearchPathOutput "bin" "sbin" config.path}";
        }
        (mkIf (config.preStart != "") {
          serviceConfig.ExecStartPre = [ (jobScript "${name}-pre-start" config.preStart) ];
        })
        (mkIf (config.script != "") {
          serviceConfig.ExecStart = jobScript "${name}-start" config.script + " " + config.scriptArgs;
        })
        (mkIf (config.postStart != "") {
          serviceConfig.ExecStartPost = [ (jobScript "${name}-post-start" config.postStart) ];
        })
        (mkIf (config.reload != "") {
          serviceConfig.ExecReload = jobScript "${name}-reload" config.reload;
        })
        (mkIf (config.preStop != "") {
          serviceConfig.ExecStop = jobScript "${name}-pre-stop" config.preStop;
        })
        (mkIf (config.postStop != "") {
          serviceConfig.ExecStopPost = jobScript "${name}-post-stop" config.postStop;
        })
      ];
    };

  socket = {
    options = {
      listenStreams = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Stream addresses to listen on.";
      };
      listenDatagrams = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Datagram addresses to listen on.";
      };
      socketConfig = unitConfigOption "The [Socket] section.";
    };
  };

  mount =
    { config, ... }:
    {
      options = {
        what = mkOption {
          type = types.str;
          description = "The device, file or other resource.";
        };
        where = mkOption {
          type = types.str;
          description = "The mount point.";
        };
        type = mkOption {
          type = types.str;
          default = "";
          description = "File system type.";
        };
        options = mkOption {
          type = types.commas;
          default = "";
          description = "Mount options.";
        };
        mountConfig = unitConfigOption "The [Mount] section.";
      };
      config = {
        name = "${utils.escapeSystemdPath config.where}.mount";
        mountConfig = {
          What = config.what;
          Where = config.where;
          Type = mkIf (config.type != "") config.type;
          Options = mkIf (config.options != "") config.options;
        };
      };
    };

  automount =
    { config, ... }:
    {
      options = {
        where = mkOption {
          type = types.str;
          description = "The mount point.";
        };
        automountConfig = unitConfigOption "The [Automount] section.";
      };
      config = {
        name = "${utils.escapeSystemdPath config.where}.automount";
        automountConfig.Where = config.where;
      };
    };

  withSection = key: title: { options.${key} = unitConfigOption "The [${title}] section."; };
  kind = modules: types.submodule ([ common unitSection ] ++ modules);
in
{
  inherit unitOption shared;
  services = types.attrsOf (kind [ service ]);
  sockets = types.attrsOf (kind [ socket (named "socket") ]);
  targets = types.attrsOf (kind [ (named "target") ]);
  timers = types.attrsOf (kind [ (withSection "timerConfig" "Timer") (named "timer") ]);
  paths = types.attrsOf (kind [ (withSection "pathConfig" "Path") (named "path") ]);
  slices = types.attrsOf (kind [ (withSection "sliceConfig" "Slice") (named "slice") ]);
  mounts = types.listOf (kind [ mount ]);
  automounts = types.listOf (kind [ automount ]);
}
