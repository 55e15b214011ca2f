{ lib, ... }:
{
  options = {
    assertions = lib.mkOption {
      type = lib.types.listOf lib.types.unspecified;
      internal = true;
      default = [ ];
      example = [
        {
          assertion = false;
          message = "you can't enable this for that reason";
        }
      ];
      description = "Conditions that must hold for the configuration to build, each with a message for the user.";
    };
    warnings = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      internal = true;
      default = [ ];
      description = "Warnings to the user, shown when the configuration is built.";
    };
    meta = lib.mkOption {
      type = lib.types.attrsOf lib.types.unspecified;
      internal = true;
      default = { };
      description = "Metadata of a module (maintainers, documentation); without effect here.";
    };
    lib = lib.mkOption {
      type = lib.types.attrsOf lib.types.attrs;
      default = { };
      description = "Functions that modules give to other modules.";
    };
  };
}
