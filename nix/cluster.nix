# The NixOS side of a cluster's directory: one system for each file in generated/ but those whose names begin with _, which
# several read, and machines.nix as a value.
{ inputs, root }:
let
  inherit (inputs.nixpkgs) lib;

  # Names of the *.nix files of a folder, without the suffix. A folder that does not exist has none.
  nixFiles =
    folder:
    let
      entries = if builtins.pathExists folder then builtins.readDir folder else { };
      isNixFile = name: type: type != "directory" && lib.hasSuffix ".nix" name;
    in
    map (lib.removeSuffix ".nix") (lib.attrNames (lib.filterAttrs isNixFile entries));

  own = root + "/nodes";

  # Applications: the folders of app_modules, machinist's and the cluster's own, which takes the place of one of machinist's that has
  # the same name. Each takes effect only on the machines that machines.nix names it on.
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

  # machines.nix may ask for `lib`, for `pkgs`, or be a function of pkgs itself. It names no platform of its own, so
  # the packages are those of the first one.
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
