# lib.nixosSystem: a machine's configuration from its modules.
{ lib }:
let
  inherit (lib) internal;

  nixosSystem =
    {
      modules ? [ ],
      specialArgs ? { },
      extraModules ? [ ],
      baseModules ? import ./modules,
      system ? null,
      prefix ? [ ],
      ...
    }:
    let
      eval = internal.evalModules {
        class = "nixos";
        inherit prefix;
        modules =
          baseModules
          ++ modules
          ++ extraModules
          ++ internal.optional (system != null) {
            _file = ./nixos-system.nix;
            key = "nixos-lite:system";
            nixpkgs.system = internal.mkDefault system;
          };
        specialArgs = {
          modulesPath = toString ./modules;
        }
        // specialArgs;
      };
      withExtras =
        configuration:
        configuration
        // {
          inherit (configuration._module.args) pkgs;
          lib = internal.public;
          extendModules = args: withExtras (configuration.extendModules args);
        };
    in
    withExtras eval;
in
nixosSystem
