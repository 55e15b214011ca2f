# The packages: `nixpkgs` is the checkout.
{ nixpkgs }:
import nixpkgs {
  localSystem.system = "x86_64-linux";
  config = { };
  overlays =
    # What a checkout that is not whole needs.
    (if builtins.pathExists ./checkout.nix then [ (import ./checkout.nix) ] else [ ])
    ++ [ (import ./overlay.nix) ];
  stdenvStages = import ./stages.nix nixpkgs;
}
