# The flake's commands: one file in apps/ each. They run machinist in the caller's directory.
{ pkgs, machinist }:
let
  inherit (pkgs) lib;

  command =
    {
      name,
      description,
      subcommand,
      runtimeInputs ? _: [ ],
    }:
    pkgs.writeShellApplication {
      inherit name;
      runtimeInputs = [
        machinist
        pkgs.git
        pkgs.nix
        pkgs.openssh
      ]
      ++ runtimeInputs pkgs;
      text = ''
        exec machinist ${lib.escapeShellArgs subcommand} "$@"
      '';
      meta = { inherit description; };
    };

  names = map (lib.removeSuffix ".nix") (
    lib.filter (lib.hasSuffix ".nix") (lib.attrNames (builtins.readDir ../apps))
  );
in
lib.genAttrs names (name: import (../apps + "/${name}.nix") { inherit command; })
