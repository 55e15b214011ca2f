# Shell of a cluster's operator: `nix develop` in the cluster's directory.
{ pkgs }:
pkgs.mkShell {
  packages = import ./operator-tools.nix { inherit pkgs; } ++ [
    (import ./package.nix { inherit pkgs; })
  ];
}
