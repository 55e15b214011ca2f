# `lib.mkCluster`: the outputs of a cluster's flake, whose only input is machinist.
#
#   outputs = inputs: inputs.machinist.lib.mkCluster { inherit inputs; root = ./.; };
#
# rust/cli/src/systems recognises this file and nix/cluster.nix by their texts, and derives the
# dependencies of a node's system from them.
{ machinist }:
{ inputs, root }:
let
  # nixpkgs, disko and sops-nix are machinist's pins, unless the cluster's flake has inputs of these
  # names.
  all = {
    inherit (machinist) nixpkgs disko sops-nix;
  }
  // inputs;

  perSystem = import ./systems.nix all.nixpkgs (pkgs: {
    inherit (import ./commands.nix { inherit pkgs; }) apps legacyPackages packages;
    devShells.default = import ./operator-shell.nix { inherit pkgs; };
    formatter = import ./formatter.nix { inherit pkgs; };
  });
in
import ./cluster.nix {
  inherit root;
  inputs = all;
}
// perSystem
