# A VM test of nix/tests as the NixOS test framework makes it: the derivations of its machines, of its driver and of the
# test, and its script. Nothing of it is built.
{
  nixpkgs,
  disko,
  sops-nix,
  overlay ? null,
  name,
  # More for the machine `on`, to show that an error in a test is found.
  on ? null,
  extra ? { },
}:
let
  inputs = import ./sources.nix { inherit nixpkgs disko sops-nix; };
  inherit (inputs.nixpkgs) lib;
  pkgs = import nixpkgs {
    system = "x86_64-linux";
    config = { };
    overlays = lib.optional (overlay != null) (import overlay);
  };
  tests = import ../../nix/tests {
    inherit inputs pkgs;
    machinist = import ../../nix/package.nix { inherit pkgs; };
  };
  plain = tests."vm-${name}";
  test = if on == null then plain else plain.extend { modules = [ { nodes.${on} = extra; } ]; };
  inherit (test) config;

  path = derivation: builtins.unsafeDiscardStringContext derivation.drvPath;
in
{
  names = lib.attrNames tests;
  machines = lib.mapAttrs (_: machine: {
    inherit (machine) warnings;
    derivation = path machine.system.build.toplevel;
    # Files that a deploy would deliver, and their sources.
    delivered = map builtins.unsafeDiscardStringContext (
      lib.filter (lib.hasInfix "/var/lib/machinist/keys/") machine.systemd.tmpfiles.rules
    );
  }) config.nodes;
  driver = path config.driver;
  test = path test;
  features = test.requiredSystemFeatures or config.rawTestDerivation.requiredSystemFeatures;
  script = builtins.unsafeDiscardStringContext config.testScriptString;
}
