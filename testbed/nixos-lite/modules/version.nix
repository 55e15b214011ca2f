{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.system.nixos;
in
{
  options.system = {
    stateVersion = mkOption {
      type = types.str;
      default = cfg.release;
      defaultText = lib.literalExpression "config.system.nixos.release";
      description = "The release whose state this machine has; it is set once and never changed.";
    };
    configurationRevision = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The revision of the configuration that the system was built from.";
    };
    nixos = {
      release = mkOption {
        type = types.str;
        readOnly = true;
        default = lib.trivial.release;
        description = "The NixOS release.";
      };
      codeName = mkOption {
        type = types.str;
        readOnly = true;
        default = lib.trivial.codeName;
        description = "The release's code name.";
      };
      versionSuffix = mkOption {
        type = types.str;
        internal = true;
        default = lib.trivial.versionSuffix;
        description = "Suffix of the release in the version.";
      };
      version = mkOption {
        type = types.str;
        internal = true;
        default = cfg.release + cfg.versionSuffix;
        defaultText = lib.literalExpression "config.system.nixos.release + config.system.nixos.versionSuffix";
        description = "The full version.";
      };
      distroId = mkOption {
        type = types.str;
        internal = true;
        default = "nixos";
        description = "The distribution's ID in os-release.";
      };
      distroName = mkOption {
        type = types.str;
        internal = true;
        default = "NixOS";
        description = "The distribution's name.";
      };
      label = mkOption {
        type = types.strMatching "[a-zA-Z0-9:_\\.-]*";
        default = lib.concatStringsSep "-" (cfg.tags ++ [ cfg.version ]);
        defaultText = lib.literalMD "the tags and the version";
        description = "The label of the system in its name and in boot menus.";
      };
      tags = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Words to add to the label.";
      };
      variant_id = mkOption {
        type = types.nullOr (types.strMatching "^[a-z0-9._-]+$");
        default = null;
        description = "The variant's ID in os-release.";
      };
      variantName = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "The variant's name in os-release.";
      };
    };
  };

  config = {
    system.nixos = {
      variant_id = lib.mkDefault "nixos-lite";
      variantName = lib.mkDefault "nixos-lite, a test double";
    };
    environment.etc.os-release.text = lib.generators.toKeyValue { } (
      builtins.mapAttrs (_: builtins.toJSON) {
        BUILD_ID = cfg.version;
        ID = cfg.distroId;
        NAME = cfg.distroName;
        PRETTY_NAME = "${cfg.distroName} ${cfg.release} (${toString cfg.variantName})";
        VARIANT = toString cfg.variantName;
        VARIANT_ID = toString cfg.variant_id;
        VERSION = "${cfg.release} (${cfg.codeName})";
        VERSION_CODENAME = lib.toLower cfg.codeName;
        VERSION_ID = cfg.release;
      }
    );
  };
}
