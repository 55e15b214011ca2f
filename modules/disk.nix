# The disk that `machinist install` partitions: GPT, a boot partition for the firmware, and one ext4 root.
{ config, lib, ... }:
let
  cfg = config.machinist.disk;
  inherit (config.machinist) node;
  uefi = cfg.firmware == "uefi";

  # NixOS has no file system for a root that systemd finds by its partition type.
  byPartitionType = config.boot.initrd.systemd.root or "fstab" != "fstab";
  isRoot = fileSystem: fileSystem.mountPoint == "/";
  hasRoot = byPartitionType || lib.any isRoot (lib.attrValues config.fileSystems);

  bootPartition = {
    uefi.ESP = {
      size = "512M";
      type = "EF00";
      content = {
        type = "filesystem";
        format = "vfat";
        mountpoint = "/boot";
        mountOptions = [ "umask=0077" ];
      };
    };
    # GRUB's second stage: GPT has no gap behind the partition table for it.
    bios.boot = {
      size = "1M";
      type = "EF02";
    };
  };
in
{
  options.machinist.disk = {
    firmware = lib.mkOption {
      type = lib.types.enum [
        "uefi"
        "bios"
      ];
      default = "uefi";
      description = ''
        Firmware of the machine. It determines the boot partition and the boot loader: systemd-boot with `uefi`, GRUB
        with `bios`.
      '';
    };

    layout = lib.mkOption {
      type = lib.types.bool;
      default = node.disk != null && node.provider != "sandbox";
      defaultText = lib.literalExpression ''node.disk != null && node.provider != "sandbox"'';
      description = ''
        Partitions the disk with disko. Your own `disko.devices` in `nodes/<name>.nix` replaces the complete layout.
      '';
    };
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = hasRoot || config.boot.isContainer;
          message =
            "${node.name} has no root file system: set `disk` of the machine in machines.nix, or file systems and a boot "
            + "loader in nodes/${node.name}.nix.";
        }
      ];
    }
    (lib.mkIf cfg.layout {
      assertions = [
        {
          assertion = node.disk != null;
          message =
            "machinist.disk.layout is true on ${node.name}, but there is no disk: set `disk` of the machine in "
            + "machines.nix.";
        }
      ];

      disko.devices = lib.mkIf (node.disk != null) (
        lib.mkDefault {
          disk.main = {
            type = "disk";
            device = node.disk;
            content = {
              type = "gpt";
              partitions = bootPartition.${cfg.firmware} // {
                root = {
                  size = "100%";
                  content = {
                    type = "filesystem";
                    format = "ext4";
                    mountpoint = "/";
                  };
                };
              };
            };
          };
        }
      );

      boot.loader = {
        efi.canTouchEfiVariables = lib.mkDefault uefi;
        grub.enable = lib.mkDefault (!uefi);
        systemd-boot = {
          enable = lib.mkDefault uefi;
          # The kernels of all generations are on the 512 MiB boot partition.
          configurationLimit = lib.mkDefault 10;
        };
      };
    })
  ];
}
