{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;

  etc = lib.filter (f: f.enable) (lib.attrValues config.environment.etc);
  arg = lib.escapeShellArg;

  etcEntry =
    f:
    let
      target = "etc/${f.target}";
    in
    ''
      entry ${arg "${f.source}"} ${arg target}
    ''
    + lib.optionalString (f.mode != "symlink") ''
      printf '%s\n' ${arg f.mode} > ${arg "${target}.mode"}
      printf '%s\n' ${arg f.user} > ${arg "${target}.uid"}
      printf '%s\n' ${arg f.group} > ${arg "${target}.gid"}
    '';

  checks = map toString config.system.checks;

  preSwitchChecks = ''
    #!/bin/bash
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  ''
  + lib.concatStrings (
    lib.mapAttrsToList (name: text: ''
      (
        set -e
        ${text}
      ) >&2
      if [ $? -ne 0 ]; then
        echo "Pre-switch check '${name}' failed" >&2
        exit 1
      fi
    '') config.system.preSwitchChecks
  );

  # One derivation for the complete system: the overhead of separate builds exceeds their work here.
  toplevel = pkgs.runCommand "nixos-system-${config.system.name}-${config.system.nixos.label}" {
    inherit checks;
    activate = config.system.activationScripts.script;
    dryActivate = config.system.dryActivationScript;
    switchToConfiguration = lib.readFile ../activation/switch-to-configuration.pl;
    setupEtc = lib.readFile ../activation/setup-etc.pl;
    updateUsers = lib.readFile ../activation/update-users.pl;
    init = lib.readFile ../activation/init.sh;
    switchInhibitors = lib.readFile ../activation/switch-inhibitors.pl;
    installBootLoader = lib.readFile ../activation/install-boot-loader.sh;
    bootctl = lib.readFile ../activation/bootctl.sh;
    inherit preSwitchChecks;
    inhibitors = builtins.toJSON config.system.switch.inhibitors;
    passAsFile = [
      "activate"
      "dryActivate"
      "switchToConfiguration"
      "setupEtc"
      "updateUsers"
      "init"
      "switchInhibitors"
      "installBootLoader"
      "bootctl"
      "preSwitchChecks"
      "inhibitors"
    ];
    meta.description = "A NixOS system of nixos-lite";
  } ''
    mkdir -p "$out"
    cd "$out"
    mkdir -p ${
      lib.escapeShellArgs (
        lib.unique (
          [
            "bin"
            "libexec"
            "etc/systemd/system"
            "sw/bin"
          ]
          ++ map (f: "etc/${dirOf f.target}") etc
        )
      )
    }

    entry() {
      if [ ! -e "$1" ] && [ "''${1#/nix/store/}" != "$1" ]; then
        echo "the source $1 of /$2 does not exist" >&2
        exit 1
      fi
      if [ -e "$2" ] || [ -L "$2" ]; then
        if [ "$(readlink "$2")" != "$1" ]; then
          echo "two different files for /$2: $(readlink "$2") and $1" >&2
          exit 1
        fi
      else
        ln -s "$1" "$2"
      fi
    }
    ${lib.concatMapStrings etcEntry etc}
    ${config.system.build.unitCommands}

    for package in ${lib.escapeShellArgs (map (p: "${lib.getBin p}") config.environment.systemPackages)}; do
      for dir in bin sbin; do
        [ ! -d "$package/$dir" ] || ln -sf "$package/$dir"/* sw/bin/
      done
    done

    install() { sed "s|@out@|$out|g" "$1" > "$2"; chmod 0555 "$2"; }
    install "$activatePath" activate
    install "$dryActivatePath" dry-activate
    install "$initPath" init
    install "$switchToConfigurationPath" libexec/switch-to-configuration
    install "$preSwitchChecksPath" libexec/pre-switch-checks
    install "$switchInhibitorsPath" libexec/switch-inhibitors
    install "$installBootLoaderPath" libexec/install-boot-loader
    rm -f sw/bin/bootctl
    install "$bootctlPath" sw/bin/bootctl
    # NixOS wraps its program with such a script.
    {
      echo "#!/bin/sh"
      echo "export PRE_SWITCH_CHECK='$out/libexec/pre-switch-checks'"
      echo "export INSTALL_BOOTLOADER='$out/libexec/install-boot-loader'"
      echo "exec $out/libexec/switch-to-configuration \"\$@\""
    } > bin/switch-to-configuration
    chmod 0555 bin/switch-to-configuration
    cp "$inhibitorsPath" switch-inhibitors
    install "$setupEtcPath" libexec/setup-etc
    install "$updateUsersPath" libexec/update-users
    printf 'systemd 2' > init-interface-version
    printf '%s' ${arg config.system.nixos.label} > nixos-version
    printf '%s' ${arg pkgs.stdenv.hostPlatform.system} > system
    printf '%s ' ${lib.escapeShellArgs (map toString config.system.extraDependencies)} > extra-dependencies
    ln -s ${pkgs.systemd} systemd
    ${config.system.systemBuilderCommands}
  '';
in
{
  options.system = {
    name = mkOption {
      type = types.str;
      default = if config.networking.hostName == "" then "unnamed" else config.networking.hostName;
      defaultText = lib.literalExpression ''if config.networking.hostName == "" then "unnamed" else config.networking.hostName'';
      description = "The name of the system in the name of its closure.";
    };
    checks = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages that must build for the system to build.";
    };
    extraDependencies = mkOption {
      type = types.listOf types.pathInStore;
      default = [ ];
      description = "Store paths that belong to the closure without being seen in it.";
    };
    systemBuilderCommands = mkOption {
      type = types.lines;
      internal = true;
      default = "";
      description = "Commands to add to the build of the system.";
    };
    build.toplevel = mkOption {
      type = types.package;
      readOnly = true;
      description = "The system's closure.";
    };
  };

  config = {
    system.build.toplevel = lib.asserts.checkAssertWarn config.assertions config.warnings toplevel;
    environment.etc.NIXOS.text = "";
  };
}
