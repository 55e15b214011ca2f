{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.systemd.tmpfiles;

  attrsNamed = placeholder: elemType: types.attrsWith { inherit placeholder elemType; };
  field =
    default: description:
    mkOption {
      type = types.str;
      inherit default description;
    };
  entry =
    { name, ... }:
    {
      options = {
        type = mkOption {
          type = types.str;
          default = name;
          defaultText = "‹tmpfiles-type›";
          description = "The kind of operation.";
        };
        mode = field "-" "The mode.";
        user = field "-" "The owner.";
        group = field "-" "The group.";
        age = field "-" "The age at which files are removed.";
        argument = field "" "The argument of the operation.";
      };
    };

  escape = lib.strings.escapeC [ "\t" "\n" "\r" " " "\\" ];
  rule =
    path: e: "'${e.type}' '${path}' '${e.mode}' '${e.user}' '${e.group}' '${e.age}' ${escape e.argument}\n";
  file = paths: lib.concatStrings (lib.mapAttrsToList (path: byType: lib.concatStrings (lib.mapAttrsToList (_: rule path) byType)) paths);
in
{
  options.systemd.tmpfiles = {
    rules = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Lines of tmpfiles.d.";
    };
    settings = mkOption {
      type = attrsNamed "config-name" (attrsNamed "path" (attrsNamed "tmpfiles-type" (types.submodule entry)));
      default = { };
      description = "Files and folders that systemd-tmpfiles makes, by configuration, path and kind.";
    };
    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages with tmpfiles.d files; nixos-lite takes none from packages.";
    };
  };

  config = {
    environment.etc =
      lib.optionalAttrs (cfg.rules != [ ]) {
        "tmpfiles.d/00-nixos.conf".text = ''
          # This file is created automatically and should not be modified.
          # Please change the option ‘systemd.tmpfiles.rules’ instead.

          ${lib.concatStringsSep "\n" cfg.rules}
        '';
      }
      // lib.mapAttrs' (name: paths: lib.nameValuePair "tmpfiles.d/${name}.conf" { text = file paths; }) cfg.settings;

    # Not part of the boot: switch-to-configuration restarts it by way of sysinit-reactivation.target.
    systemd.services.systemd-tmpfiles-resetup = {
      description = "Re-setup tmpfiles on a system that is already running.";
      requiredBy = [ "sysinit-reactivation.target" ];
      after = [
        "local-fs.target"
        "systemd-sysusers.service"
        "systemd-journald.service"
      ];
      before = [
        "sysinit-reactivation.target"
        "shutdown.target"
      ];
      conflicts = [ "shutdown.target" ];
      restartTriggers = lib.mapAttrsToList (_: f: f.source) (
        lib.filterAttrs (name: _: lib.hasPrefix "tmpfiles.d/" name) config.environment.etc
      );
      unitConfig.DefaultDependencies = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "systemd-tmpfiles --create --remove --exclude-prefix=/dev";
        SuccessExitStatus = "DATAERR CANTCREAT";
        ImportCredential = [
          "tmpfiles.*"
          "login.motd"
          "login.issue"
          "network.hosts"
          "ssh.authorized_keys.root"
        ];
        RestrictSUIDSGID = false;
      };
    };
  };
}
