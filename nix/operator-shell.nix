# What the operator of a cluster works with: `nix develop` in the cluster's directory.
{ pkgs }:
pkgs.mkShell {
  packages = import ./operator-tools.nix { inherit pkgs; } ++ [ (import ./package.nix { inherit pkgs; }) ];
}
