{
  config,
  lib,
  options,
  ...
}:
let
  cfg = config.nixpkgs;
  inherit (lib) mkOption types;
  overlayType = types.mkOptionType {
    name = "nixpkgs-overlay";
    description = "nixpkgs overlay";
    check = lib.isFunction;
    merge = lib.mergeOneOption;
  };
  platform = types.either types.str types.attrs;
  system = if builtins.isAttrs cfg.hostPlatform then cfg.hostPlatform.system else cfg.hostPlatform;
in
{
  options.nixpkgs = {
    pkgs = mkOption {
      type = types.pkgs // {
        description = "An evaluation of Nixpkgs; the top level attribute set of packages";
      };
      defaultText = lib.literalExpression "the package set of nixos-lite";
      description = "The package set that modules get as `pkgs`.";
    };
    config = mkOption {
      type = types.mkOptionType {
        name = "nixpkgs-config";
        description = "nixpkgs config";
        check = x: lib.isFunction x || builtins.isAttrs x;
        merge = _: defs: lib.foldl' lib.recursiveUpdate { } (map (def: if lib.isFunction def.value then { } else def.value) defs);
      };
      default = { };
      description = "The configuration of the package set; nixos-lite accepts it and has no use for it.";
    };
    overlays = mkOption {
      type = types.listOf overlayType;
      default = [ ];
      description = "Overlays on the package set.";
    };
    hostPlatform = mkOption {
      type = platform;
      default = cfg.system;
      defaultText = lib.literalExpression "config.nixpkgs.system";
      description = "The platform that the machine runs on.";
    };
    buildPlatform = mkOption {
      type = platform;
      default = cfg.hostPlatform;
      defaultText = lib.literalExpression "config.nixpkgs.hostPlatform";
      description = "The platform that builds the machine's closure.";
    };
    system = mkOption {
      type = types.str;
      default = throw "Neither nixpkgs.hostPlatform nor the legacy option nixpkgs.system has been set.";
      defaultText = lib.literalMD "none";
      description = "The older form of `nixpkgs.hostPlatform`.";
    };
  };

  config = {
    nixpkgs.pkgs = lib.mkOptionDefault (
      import ../pkgs {
        lib = lib // {
          internal = import ../lib;
        };
        inherit system;
        inherit (cfg) config overlays;
      }
    );
    _module.args = {
      pkgs = cfg.pkgs;
      utils = import ./utils.nix { inherit lib; };
    };
  };
}
