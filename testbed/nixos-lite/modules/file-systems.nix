# fileSystems and swapDevices: declared and checked. The machine's provider mounts; /etc/fstab is
# not written.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  nonEmpty = types.addCheck types.str (s: s != "") // {
    name = "nonEmptyStr";
    description = "string (with check: non-empty)";
    descriptionClass = "noun";
  };
  pathText = types.addCheck types.str (s: s != "" && (s == "/" || !lib.hasSuffix "/" s)) // {
    name = "nonEmptyWithoutTrailingSlash";
    description = "string (with check: non-empty without trailing slash)";
    descriptionClass = "noun";
  };
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  nullable =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  encrypted = {
    enable = flag false "Whether the block device is encrypted.";
    blkDev = nullable types.str "The encrypted device.";
    label = nullable types.str "The label of the opened device.";
    keyFile = nullable types.str "The file with the key.";
  };
  fileSystem =
    { name, ... }:
    {
      options = {
        enable = flag true "Whether the file system is mounted.";
        mountPoint = mkOption {
          type = pathText;
          default = name;
          description = "The mount point.";
        };
        device = nullable nonEmpty "The device.";
        label = nullable nonEmpty "The device's label.";
        fsType = mkOption {
          type = nonEmpty;
          default = "auto";
          description = "The kind of file system.";
        };
        options = mkOption {
          type = types.nonEmptyListOf nonEmpty;
          default = [ "defaults" ];
          description = "Mount options.";
        };
        depends = mkOption {
          type = types.listOf pathText;
          default = [ ];
          description = "Mount points that come first.";
        };
        autoFormat = flag false "Whether an empty device is formatted.";
        autoResize = flag false "Whether the file system grows to its device.";
        noCheck = flag false "Whether it is not checked at boot.";
        neededForBoot = flag false "Whether the initial ramdisk mounts it.";
        inherit encrypted;
        overlay = {
          lowerdir = nullable (types.nonEmptyListOf (types.either types.str types.pathInStore)) "Lower folders of an overlay.";
          upperdir = nullable types.str "Upper folder of an overlay.";
          workdir = nullable types.str "Work folder of an overlay.";
          useStage1BaseDirectories = flag true "Whether the folders are below the new root.";
        };
      };
    };
  swap =
    { config, ... }:
    {
      options = {
        device = mkOption {
          type = types.nonEmptyStr;
          description = "The device or file.";
        };
        label = mkOption {
          type = types.str;
          description = "The device's label.";
        };
        size = nullable types.int "The size of a swap file, in megabytes.";
        priority = nullable types.int "The priority.";
        options = mkOption {
          type = types.listOf types.nonEmptyStr;
          default = [ "defaults" ];
          description = "Options.";
        };
        discardPolicy = nullable (types.enum [ "once" "pages" "both" ]) "When blocks are discarded.";
        inherit encrypted;
      };
    };
in
{
  options = {
    fileSystems = mkOption {
      type = types.attrsOf (types.submodule fileSystem);
      default = { };
      description = "File systems.";
    };
    swapDevices = mkOption {
      type = types.listOf (types.submodule swap);
      default = [ ];
      description = "Swap devices.";
    };
  };

  config.assertions = lib.optional (!config.boot.isContainer) {
    assertion = lib.any (fs: fs.mountPoint == "/") (lib.attrValues config.fileSystems);
    message = "The ‘fileSystems’ option does not specify your root file system.";
  };
}
