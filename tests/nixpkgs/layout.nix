# What disko and NixOS make of a node's disks. Arguments as in view.nix.
{
  nixpkgs,
  disko ? null,
  sops-nix ? null,
  overlay ? null,
  root,
  node,
}:
let
  inputs = import ./sources.nix { inherit nixpkgs disko sops-nix; };
  cluster = import ../../nix/cluster.nix { inherit inputs root; };
  plain = cluster.nixosConfigurations.${node};
  system =
    if overlay == null then
      plain
    else
      plain.extendModules { modules = [ { nixpkgs.overlays = [ (import overlay) ]; } ]; };
  inherit (system) config;
  inherit (inputs.nixpkgs) lib;
  text = builtins.unsafeDiscardStringContext;
in
{
  failed = map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions);
  inherit (config) warnings;
  inherit (config.machinist) install;
  script = text config.system.build.diskoScript.drvPath;
  toplevel = text config.system.build.toplevel.drvPath;
  # What is formatted, in disko's own words.
  create = text config.disko.devices._create;
  fileSystems = lib.mapAttrs (_: fileSystem: {
    inherit (fileSystem) fsType options;
    device = text (toString fileSystem.device);
  }) config.fileSystems;
  grub = lib.optionals config.boot.loader.grub.enable (
    map (boot: { inherit (boot) devices path; }) config.boot.loader.grub.mirroredBoots
  );
  arrays = config.boot.swraid.enable;
}
