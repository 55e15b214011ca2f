# One node of a cluster as its NixOS modules make it: the verdict on its system, and what ends up on the machine as data.
# `nixpkgs`, `disko` and `sops-nix` are as in sources.nix.
{
  nixpkgs,
  disko ? null,
  sops-nix ? null,
  # A file with a nixpkgs overlay, for a checkout that is not whole.
  overlay ? null,
  root,
  node,
  # Without the view, the evaluation costs what a deploy's costs.
  withView ? true,
}:
let
  inputs = import ./sources.nix { inherit nixpkgs disko sops-nix; };
  inherit (inputs.nixpkgs) lib;
  cluster = import ../../nix/cluster.nix { inherit inputs root; };
  plain = cluster.nixosConfigurations.${node};
  system =
    if overlay == null then
      plain
    else
      plain.extendModules { modules = [ { nixpkgs.overlays = [ (import overlay) ]; } ]; };
  inherit (system) config;

  # The text behind a file of /etc, where evaluation knows it; else the name in the store.
  content = entry: if entry.text != null then entry.text else networkUnit entry.target textOf entry.source;
  # NixOS links a unit of systemd-networkd from a package of its own.
  networkUnit =
    target: other: source:
    let
      units = config.systemd.network.units or { };
      name = baseNameOf target;
    in
    if lib.hasPrefix "systemd/network/" target && units ? ${name} then units.${name}.text else other source;
  textOf =
    source:
    if builtins.isAttrs source && source ? text && builtins.isString source.text then
      source.text
    else
      "${source}";

  scripts = [
    "preStart"
    "script"
    "postStart"
    "reload"
    "preStop"
    "postStop"
  ];
  scriptsOf =
    service: lib.filterAttrs (_: text: text != "") (lib.genAttrs scripts (name: service.${name} or ""));
  unit =
    name: unit:
    {
      inherit (unit) enable;
      inherit (unit) text;
      wantedBy = unit.wantedBy ++ unit.requiredBy;
    }
    // lib.optionalAttrs (lib.hasSuffix ".service" name) {
      scripts = scriptsOf (config.systemd.services.${lib.removeSuffix ".service" name} or { });
    };

  withoutContext =
    value: if builtins.isString value then builtins.unsafeDiscardStringContext value else value;
  view = lib.mapAttrsRecursive (_: withoutContext) {
    units = lib.mapAttrs unit config.systemd.units;
    etc = lib.mapAttrs (_: entry: {
      content = content entry;
      inherit (entry) mode user group;
    }) (lib.filterAttrs (_: entry: entry.enable) config.environment.etc);
    users = lib.mapAttrs (_: user: {
      inherit (user)
        uid
        group
        home
        isSystemUser
        ;
      extraGroups = lib.naturalSort user.extraGroups;
      keys = user.openssh.authorizedKeys.keys;
    }) config.users.users;
    groups = lib.mapAttrs (_: group: { inherit (group) gid members; }) config.users.groups;
    firewall = lib.mapAttrs (_: table: table.content) config.networking.nftables.tables;
    parameters = lib.filterAttrs (_: value: value != null) config.boot.kernel.sysctl;
    tmpfiles = config.systemd.tmpfiles.rules;
    inherit (config.boot) kernelModules;
    inherit (config.networking) hosts;
    sshd = config.services.openssh.settings;
    fileSystems = lib.mapAttrs (_: fs: fs.fsType) config.fileSystems;
  };
in
{
  # As nixpkgs names itself, without what a flake adds.
  version = (import (nixpkgs + "/lib")).version or config.system.nixos.version;
  failed = map (entry: entry.message) (lib.filter (entry: !entry.assertion) config.assertions);
  inherit (config) warnings;
  derivation = builtins.unsafeDiscardStringContext config.system.build.toplevel.drvPath;

  view = if withView then view else null;
}
