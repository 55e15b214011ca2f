# boot.*: declared and checked; a nixos-lite machine is a container that its provider boots.
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
  text =
    default: description:
    mkOption {
      type = types.str;
      inherit default description;
    };
  # Names, as a list or as a set of booleans; returned as a list.
  names =
    description:
    mkOption {
      type = types.coercedTo (types.listOf types.str) (list: lib.genAttrs list (_: true)) (types.attrsOf types.bool);
      default = { };
      apply = set: lib.attrNames (lib.filterAttrs (_: enable: enable) set);
      inherit description;
    };
  nameSet =
    description:
    mkOption {
      type = types.coercedTo (types.listOf types.str) (list: lib.genAttrs list (_: true)) (types.attrsOf types.bool);
      default = { };
      inherit description;
    };
  params = types.listOf (types.strMatching ''([^"[:space:]]|"[^"]*")+'' // {
    name = "kernelParam";
    description = "string, with spaces inside double quotes";
  });

  inherit (config.boot.loader) grub;
in
{
  options.boot = {
    isContainer = flag false "Whether this machine is a container.";
    kernelModules = names "Kernel modules to load.";
    extraModulePackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages with kernel modules.";
    };
    blacklistedKernelModules = names "Kernel modules not to load.";
    extraModprobeConfig = mkOption {
      type = types.lines;
      default = "";
      description = "More lines of modprobe.conf.";
    };
    kernelParams = mkOption {
      type = params;
      default = [ ];
      description = "Parameters of the kernel's command line.";
    };
    kernelPackages = mkOption {
      type = types.raw;
      default = null;
      description = "The kernel and its modules.";
    };
    consoleLogLevel = mkOption {
      type = types.int;
      default = 4;
      description = "The console's log level.";
    };
    zfs.forceImportRoot = flag true "Whether the root's pool is imported even if another host has it.";
    swraid = {
      enable = flag false "Whether arrays of disks are assembled, with mdadm.";
      mdadmConf = mkOption {
        type = types.lines;
        default = "";
        description = "Lines of mdadm.conf.";
      };
    };
    growPartition = flag false "Whether the root partition grows to its disk.";
    supportedFilesystems = nameSet "File systems to support.";
    initrd = {
      availableKernelModules = names "Kernel modules in the initial ramdisk.";
      kernelModules = names "Kernel modules that the initial ramdisk loads.";
      includeDefaultModules = flag true "Whether the usual modules are in the initial ramdisk.";
      supportedFilesystems = nameSet "File systems that the initial ramdisk supports.";
      network.enable = flag false "Whether the initial ramdisk has a network.";
      secrets = mkOption {
        type = types.attrsOf (types.nullOr types.path);
        default = { };
        description = "Secrets in the initial ramdisk.";
      };
      systemd.enable = flag false "Whether the initial ramdisk runs systemd.";
    };
    loader = {
      timeout = mkOption {
        type = types.nullOr types.int;
        default = 5;
        description = "Timeout of the boot menu, in seconds.";
      };
      efi = {
        canTouchEfiVariables = flag false "Whether EFI variables may be changed.";
        efiSysMountPoint = text "/boot" "Where the EFI system partition is mounted.";
      };
      systemd-boot = {
        enable = flag false "Whether systemd-boot is used.";
        configurationLimit = mkOption {
          type = types.nullOr types.int;
          default = null;
          description = "Number of generations in the menu.";
        };
        editor = flag true "Whether the kernel's command line can be edited.";
      };
      grub = {
        enable = mkOption {
          type = types.bool;
          default = !config.boot.isContainer;
          defaultText = lib.literalExpression "!config.boot.isContainer";
          description = "Enables GRUB.";
        };
        device = text "" "The disk to install GRUB on.";
        devices = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "The disks to install GRUB on.";
        };
        efiSupport = flag false "Whether GRUB supports EFI.";
        efiInstallAsRemovable = flag false "Whether GRUB is installed as on a removable disk.";
        configurationLimit = mkOption {
          type = types.int;
          default = 100;
          description = "Number of generations in the menu.";
        };
        configurationName = text "" "The name in the menu.";
        useOSProber = flag false "Whether other systems are looked for.";
      };
    };
    tmp = {
      cleanOnBoot = flag false "Whether /tmp is emptied at boot.";
      useTmpfs = flag false "Whether /tmp is in memory.";
      tmpfsSize = mkOption {
        type = types.oneOf [
          types.str
          types.ints.positive
        ];
        default = "50%";
        description = "The size of /tmp in memory.";
      };
      tmpfsHugeMemoryPages = mkOption {
        type = types.enum [ "never" "always" "within_size" "advise" ];
        default = "never";
        description = "Huge pages of /tmp in memory.";
      };
    };
  };

  config = {
    environment.etc = lib.optionalAttrs (config.boot.kernelModules != [ ]) {
      "modules-load.d/nixos.conf".text = lib.concatMapStrings (m: m + "\n") config.boot.kernelModules;
    };
    systemd.tmpfiles.rules = lib.optional config.boot.tmp.cleanOnBoot "D! /tmp 1777 root root";
    boot.kernel.sysctl = lib.optionalAttrs (!config.boot.isContainer) {
      "kernel.printk" = lib.mkDefault config.boot.consoleLogLevel;
    };
    boot.loader.grub = {
      enable = lib.mkIf config.boot.loader.systemd-boot.enable (lib.mkDefault false);
      devices = lib.optional (grub.device != "") grub.device;
    };
    assertions = lib.optional grub.enable {
      assertion = grub.devices != [ ];
      message =
        "You must set the option ‘boot.loader.grub.devices’ or "
        + "'boot.loader.grub.mirroredBoots' to make the system bootable.";
    };
  };
}
