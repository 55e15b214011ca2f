# Stands in for disko's NixOS module: the options are declared and checked roughly, nothing is formatted.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  refuse =
    what:
    pkgs.writeShellScript "disko-${what}" ''
      echo "This is the stand-in for disko of nixos-lite, a test double of nixpkgs: it does not touch any disk." >&2
      echo "Build the configuration with real nixpkgs and disko for a script that partitions and mounts." >&2
      exit 1
    '';
in
{
  options.disko = {
    devices = mkOption {
      type = types.anything;
      default = { };
      description = "The devices to set up.";
    };
    enableConfig = flag true "Whether fileSystems follow from the devices; here they do not.";
    rootMountPoint = mkOption {
      type = types.str;
      default = "/mnt";
      description = "Where the new root is mounted.";
    };
    checkScripts = flag false "Whether the scripts are checked.";
    memSize = mkOption {
      type = types.int;
      default = 1024;
      description = "Memory of the machine that makes images, in MiB.";
    };
    testMode = flag false "Whether devices are named as in disko's tests.";
  };

  config = {
    assertions = [
      {
        assertion = builtins.isAttrs config.disko.devices;
        message = "disko.devices must be an attribute set.";
      }
    ]
    ++ lib.mapAttrsToList (name: disk: {
      assertion = builtins.isAttrs disk && disk ? device && disk ? content;
      message = "disko.devices.disk.${name} must have `device` and `content`.";
    }) (config.disko.devices.disk or { });

    system.build = {
      diskoScript = refuse "script";
      disko = refuse "script";
      diskoNoDeps = refuse "script";
      diskoScriptNoDeps = refuse "script";
      formatScript = refuse "format";
      mountScript = refuse "mount";
    };
  };
}
