# The disks that `machinist install` partitions: GPT, boot partitions for the firmware, and one root; two disks mirror each
# other.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.disk;
  inherit (config.machinist) cluster node;
  uefi = cfg.firmware == "uefi";
  hybrid = cfg.firmware == "hybrid";
  zfs = cfg.fileSystem == "zfs";
  mirrored = lib.length cfg.devices > 1;

  # NixOS has no file system for a root that systemd finds by its partition type.
  byPartitionType = config.boot.initrd.systemd.root or "fstab" != "fstab";
  isRoot = fileSystem: fileSystem.mountPoint == "/";
  hasRoot = byPartitionType || lib.any isRoot (lib.attrValues config.fileSystems);

  esp = {
    type = "filesystem";
    format = "vfat";
    mountpoint = "/boot";
    mountOptions = [ "umask=0077" ];
  };
  # A half of an array. Firmware reads the half of a boot partition by itself: the array's own data is at its end.
  half = name: {
    type = "mdraid";
    inherit name;
  };
  ext4 = {
    type = "filesystem";
    format = "ext4";
    mountpoint = "/";
  };

  bootPartition = {
    uefi.ESP = {
      size = "512M";
      type = "EF00";
      content = if mirrored then half "boot" else esp;
    };
    # GRUB's second stage: GPT has no gap behind the partition table for it.
    bios.boot = {
      size = "1M";
      type = "EF02";
    };
    hybrid = bootPartition.bios // bootPartition.uefi;
  };
  rootPartition = {
    size = "100%";
    content =
      if zfs then
        {
          type = "zfs";
          pool = "rpool";
        }
      else if mirrored then
        half "root"
      else
        ext4;
  };
  disk = device: {
    type = "disk";
    inherit device;
    content = {
      type = "gpt";
      partitions = bootPartition.${cfg.firmware} // {
        root = rootPartition;
      };
    };
  };

  arrays =
    lib.optionalAttrs (mirrored && cfg.firmware != "bios") {
      boot = {
        type = "mdadm";
        level = 1;
        metadata = "1.0";
        content = esp;
      };
    }
    // lib.optionalAttrs (mirrored && !zfs) {
      root = {
        type = "mdadm";
        level = 1;
        content = ext4;
      };
    };

  layout = {
    disk = {
      main = disk (lib.head cfg.devices);
    }
    // lib.optionalAttrs mirrored { mirror = disk (lib.elemAt cfg.devices 1); };
  }
  // lib.optionalAttrs (arrays != { }) { mdadm = arrays; }
  // lib.optionalAttrs zfs {
    zpool.rpool = {
      type = "zpool";
      mode = lib.optionalString mirrored "mirror";
      options.ashift = "12";
      rootFsOptions = {
        acltype = "posixacl";
        compression = "zstd";
        mountpoint = "none";
        xattr = "sa";
      };
      datasets = {
        root = {
          type = "zfs_fs";
          mountpoint = "/";
          options.mountpoint = "legacy";
        };
        nix = {
          type = "zfs_fs";
          mountpoint = "/nix";
          options = {
            mountpoint = "legacy";
            atime = "off";
          };
        };
      };
    };
  };
in
{
  options.machinist.disk = {
    devices = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "/dev/.+");
      default = lib.optional (node.disk != null) node.disk;
      defaultText = lib.literalExpression "lib.optional (node.disk != null) node.disk";
      description = "Disks that are erased at the installation: one, or two that mirror each other.";
    };

    fileSystem = lib.mkOption {
      type = lib.types.enum [
        "ext4"
        "zfs"
      ];
      default = "ext4";
      description = "File system of the root. Two disks are mirrored by mdadm, or by ZFS.";
    };

    firmware = lib.mkOption {
      type = lib.types.enum [
        "uefi"
        "bios"
        "hybrid"
      ];
      default = if mirrored then "hybrid" else "uefi";
      defaultText = lib.literalExpression ''if two disks then "hybrid" else "uefi"'';
      description = ''
        Firmware of the machine. It determines the boot partition and the boot loader: systemd-boot with `uefi`, GRUB
        with `bios`. `hybrid` boots by both, with GRUB, which is installed where any UEFI firmware looks for it. It is
        used at the installation: changing it later does not change the disk.
      '';
    };

    keep = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            device = lib.mkOption {
              type = lib.types.strMatching "/dev/.+";
              description = "Disk or partition with the file system.";
            };
            fileSystem = lib.mkOption {
              type = lib.types.enum [
                "ext4"
                "xfs"
                "btrfs"
              ];
              default = "ext4";
              description = "Its file system.";
            };
          };
        }
      );
      default = { };
      example = {
        "/var/lib/postgresql".device = "/dev/disk/by-id/ata-2-part1";
      };
      description = ''
        File systems with data, by mount point. They are mounted as they are, and never formatted. The node boots without
        them, too: a service that needs one has `unitConfig.RequiresMountsFor`.
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
          assertion = cfg.devices != [ ];
          message =
            "machinist.disk.layout is true on ${node.name}, but there is no disk: set `disk` of the machine in "
            + "machines.nix.";
        }
        {
          assertion = !(mirrored && uefi);
          message =
            "The disks of ${node.name} mirror each other, and systemd-boot writes to one of them only: set "
            + "machinist.disk.firmware to \"hybrid\" or \"bios\".";
        }
        {
          assertion = !(cfg.fileSystem == "zfs" && cfg.firmware == "bios");
          message =
            "The disks of ${node.name} are ZFS that boots by BIOS only, without a boot partition that GRUB can read: set "
            + "machinist.disk.firmware to \"hybrid\", which boots by BIOS, too.";
        }
      ];

      disko.devices = lib.mkIf (cfg.devices != [ ]) (lib.mkDefault layout);

      fileSystems = lib.mapAttrs (_: disk: {
        inherit (disk) device;
        fsType = disk.fileSystem;
        options = [
          "defaults"
          "nofail"
          "x-systemd.device-timeout=30s"
        ];
      }) cfg.keep;

      boot.loader = {
        efi.canTouchEfiVariables = lib.mkDefault uefi;
        grub = {
          enable = lib.mkDefault (!uefi);
          efiSupport = lib.mkIf hybrid (lib.mkDefault true);
          # The firmware's own list of boot entries is not touched: the machine may have booted by BIOS.
          efiInstallAsRemovable = lib.mkIf hybrid (lib.mkDefault true);
          configurationLimit = lib.mkIf hybrid (lib.mkDefault 10);
        };
        systemd-boot = {
          enable = lib.mkDefault uefi;
          # The kernels of all generations are on the 512 MiB boot partition.
          configurationLimit = lib.mkDefault 10;
        };
      };
    })
    (lib.mkIf (cfg.layout && mirrored) {
      boot.swraid = {
        enable = true;
        # The monitor refuses to start without a receiver: a lost disk is in the journal.
        mdadmConf = lib.mkDefault "PROGRAM ${pkgs.writeShellScript "machinist-array-event" ''
          echo "<3>array $2: $1 ''${3-}" >/dev/kmsg
        ''}";
      };
    })
    (lib.mkIf (cfg.layout && zfs) {
      # A pool belongs to one host, which imports it without force: the installer has exported it.
      boot.zfs.forceImportRoot = lib.mkDefault false;
      networking.hostId = lib.mkDefault (
        lib.substring 0 8 (builtins.hashString "sha256" "machinist ${cluster.name} ${node.name}")
      );
    })
  ];
}
