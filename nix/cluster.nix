# The NixOS side of a cluster's directory: machines.nix as a value, and one system for each file in
# generated/, except for files whose names begin with _, which several systems read.
{ inputs, root }:
let
  inherit (inputs.nixpkgs) lib;

  # Names of the *.nix files in a folder, without the suffix; empty if the folder does not exist.
  nixFiles =
    folder:
    let
      entries = if builtins.pathExists folder then builtins.readDir folder else { };
      isNixFile = name: type: type != "directory" && lib.hasSuffix ".nix" name;
    in
    map (lib.removeSuffix ".nix") (lib.attrNames (lib.filterAttrs isNixFile entries));

  own = root + "/nodes";

  # Applications: the folders of machinist's app_modules and of the cluster's own, which replaces
  # machinist's application of the same name. Each takes effect only on machines that list it in
  # machines.nix.
  appsOf =
    folder:
    let
      entries = if builtins.pathExists folder then builtins.readDir folder else { };
      isApp = name: type: type == "directory" && builtins.pathExists (folder + "/${name}/default.nix");
    in
    lib.mapAttrs (name: _: folder + "/${name}") (lib.filterAttrs isApp entries);
  apps = lib.attrValues (appsOf ../app_modules // appsOf (root + "/app_modules"));

  system =
    name:
    lib.nixosSystem {
      modules = [
        ../modules
        inputs.disko.nixosModules.disko
        inputs.sops-nix.nixosModules.sops
        (root + "/generated/${name}.nix")
      ]
      ++ apps
      ++ lib.optional (builtins.pathExists (own + "/${name}.nix")) (own + "/${name}.nix")
      ++ map (file: own + "/${name}/${file}.nix") (nixFiles (own + "/${name}"));
    };

  machines = import (root + "/machines.nix");

  # machines.nix may take `lib` or `pkgs`, or be a function of pkgs itself. It has no platform of
  # its own, so the packages are those of the first one.
  pkgs = inputs.nixpkgs.legacyPackages.x86_64-linux;
  arguments = if lib.functionArgs machines == { } then pkgs else named;
  named = builtins.intersectAttrs (lib.functionArgs machines) (pkgs // { inherit lib pkgs; });
in
{
  nixosConfigurations = lib.genAttrs (lib.filter (name: !lib.hasPrefix "_" name) (
    nixFiles (root + "/generated")
  )) system;

  lib.machines = if lib.isFunction machines then machines arguments else machines;
}
