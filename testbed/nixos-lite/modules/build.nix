{ lib, ... }:
{
  options.system.build = lib.mkOption {
    type = lib.types.submoduleWith {
      modules = [ { freeformType = with lib.types; lazyAttrsOf (uniq unspecified); } ];
    };
    default = { };
    description = "Derivations that this configuration is built of.";
  };
}
