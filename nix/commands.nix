# machinist's programs, and the commands of a flake: one file in apps/ each, which runs machinist in the caller's directory.
{ pkgs }:
let
  inherit (pkgs) lib;

  machinist = import ./package.nix { inherit pkgs; };
  commands = import ./apps.nix { inherit pkgs machinist; };
in
{
  packages = {
    inherit machinist;
    machinist-agent = import ./agent.nix { inherit pkgs; };
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
}
