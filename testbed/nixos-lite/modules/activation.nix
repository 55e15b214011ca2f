{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;

  snippet = types.either types.str (
    types.submodule {
      options = {
        deps = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Snippets to run before this one.";
        };
        text = mkOption {
          type = types.lines;
          description = "The shell commands.";
        };
        supportsDryActivation = mkOption {
          type = types.bool;
          default = false;
          description = "Also runs it, with `NIXOS_ACTION=dry-activate`, when nothing may change.";
        };
      };
    }
  );

  # Snippets in dependency order, each with a headline and its own status.
  script =
    onlyDry: set:
    let
      entries = builtins.mapAttrs (_: v: if builtins.isString v then { text = v; deps = [ ]; supportsDryActivation = false; } else v) set;
      body =
        name: v:
        if v.text == "" then
          ""
        else if onlyDry && !v.supportsDryActivation then
          "#### Activation script snippet ${name} does not support dry activation."
        else
          ''
            #### Activation script snippet ${name}:
            _localstatus=0
            ${v.text}
            if (( _localstatus > 0 )); then
              printf "Activation script snippet '%s' failed (%s)\n" "${name}" "$_localstatus" >&2
            fi
          '';
    in
    ''
      #!/bin/bash
      systemConfig='@out@'
      ${lib.readFile ../activation/guard.sh}
      export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
      _status=0
      trap "_status=1 _localstatus=\$?" ERR
      umask 0022

    ''
    + lib.concatStringsSep "\n" (
      lib.filter (text: text != "") (
        lib.stringsWithDeps.textClosureList (builtins.mapAttrs (name: v: v // { text = body name v; }) entries) (
          builtins.attrNames entries
        )
      )
    )
    + lib.optionalString (!onlyDry) ''

      # The last step: this is the current system now.
      ln -sfn "$(readlink -f "$systemConfig")" /run/current-system
    ''
    + ''

      exit $_status
    '';
in
{
  options.system = {
    activationScripts = mkOption {
      type = types.attrsOf snippet;
      default = { };
      apply = set: set // { script = script false set; };
      description = "Shell commands that run at each boot and at each switch. They must be idempotent and fast.";
    };
    dryActivationScript = mkOption {
      internal = true;
      readOnly = true;
      default = script true (builtins.removeAttrs config.system.activationScripts [ "script" ]);
      defaultText = lib.literalMD "the generated script";
      description = "Script of dry-activate.";
    };
    preSwitchChecks = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Shell commands that may refuse a switch. `$1` is the new system, `$2` the action.";
    };
    switch.inhibitors = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Strings that prevent a switch when they change: only a boot brings such a system.";
    };
  };

  # As NixOS' own, with a program in the place of jq.
  config.system.preSwitchChecks.switchInhibitors = ''
    case "''${2-}" in
      boot | dry-activate)
        echo "Not checking switch inhibitors (action = $2)"
        exit
        ;;
    esac
    echo -n "Checking switch inhibitors..."
    diff=$(perl @out@/libexec/switch-inhibitors /run/current-system/switch-inhibitors "$1/switch-inhibitors")
    if [ -n "$diff" ]; then
      echo
      echo "There are changes to critical components of the system:"
      echo
      echo "$diff"
      echo
      echo "Switching into this system is not recommended."
      echo "You probably want to run 'nixos-rebuild boot' and reboot your system instead."
      exit 1
    else
      echo " done"
    fi
  '';

  config.system.activationScripts = {
    # Names that other modules' snippets depend on.
    specialfs = "";
    stdio = "";
    var = "";
    binsh = "";
    usrbinenv = "";
    groups = lib.stringAfter [ "users" ] "";
    hashes = lib.stringAfter [ "users" ] "";
    nix = ''
      mkdir -p /nix/var/nix/gcroots
      ln -sfn /run/current-system /nix/var/nix/gcroots/current-system
      [ ! -e /run/booted-system ] || ln -sfn /run/booted-system /nix/var/nix/gcroots/booted-system
    '';
  };
}
