# The outputs of the flake that are made for one platform.
{ inputs, pkgs }:
let
  inherit (pkgs) lib;

  machinist = import ./package.nix { inherit pkgs; };
  commands = import ./apps.nix { inherit pkgs machinist; };
in
{
  packages = {
    inherit machinist;
    default = machinist;
  };

  # `nix run .#deploy` finds a command here, `nix run .#apps.deploy` finds it in legacyPackages.
  apps = lib.mapAttrs (name: command: {
    type = "app";
    program = "${command}/bin/${name}";
    meta = {
      inherit (command.meta) description;
    };
  }) commands;
  legacyPackages.apps = commands;

  checks = import ./checks.nix { inherit inputs pkgs machinist; };
  devShells.default = import ./devshell.nix { inherit pkgs; };
  formatter = import ./formatter.nix { inherit pkgs; };
}
