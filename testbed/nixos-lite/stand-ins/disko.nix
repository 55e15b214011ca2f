# Stand-in for disko's NixOS module: the options are declared and roughly checked, nothing is
# formatted. File systems and GRUB's disks are derived from partitions only.
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
  cfg = config.disko;
  disks = lib.attrValues (cfg.devices.disk or { });
  partitions = disk: lib.attrValues (disk.content.partitions or { });
  contents = lib.concatMap (disk: map (partition: partition.content or { }) (partitions disk)) disks;
  mounted = lib.filter (content: content.type or "" == "filesystem" && content ? mountpoint) contents;
  forGrub = lib.filter (disk: lib.any (partition: partition.type or "" == "EF02") (partitions disk)) disks;
in
{
  options.disko = {
    devices = mkOption {
      type = types.anything;
      default = { };
      description = "The devices to set up.";
    };
    enableConfig = flag true "Derives fileSystems from the devices.";
    rootMountPoint = mkOption {
      type = types.str;
      default = "/mnt";
      description = "Mount point of the new root.";
    };
    checkScripts = flag false "Checks the scripts.";
    memSize = mkOption {
      type = types.int;
      default = 1024;
      description = "Memory of the machine that builds images, in MiB.";
    };
    testMode = flag false "Names devices as in disko's tests.";
  };

  config = {
    fileSystems = lib.mkIf cfg.enableConfig (
      lib.listToAttrs (
        map (
          content:
          lib.nameValuePair content.mountpoint {
            fsType = content.format;
            options = content.mountOptions or [ "defaults" ];
          }
        ) mounted
      )
    );
    boot.loader.grub.devices = map (disk: disk.device) forGrub;

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
