# VM tests for `nix flake check`: each is the twin of a story that `./test` plays on machines of the sandbox. They need
# the NixOS test framework, which nixos-lite does not have, and KVM. THEY HAVE NEVER RUN where machinist is developed: they
# are evaluated with nixpkgs (tests/nixpkgs/vm-tests), and their scripts, but that of k3s, are played on machines of the
# sandbox by a stand-in for the framework's driver (tests/nixpkgs/vm-scripts).
{
  inputs,
  machinist,
  pkgs,
}:
let
  inherit (pkgs) lib;
  cluster = import ./nodes.nix { inherit inputs machinist pkgs; };

  test =
    name:
    pkgs.testers.runNixOSTest {
      imports = [ (import (./. + "/${name}.nix") { inherit cluster machinist; }) ];
      inherit name;
      # The modules set the platform.
      node.pkgsReadOnly = false;
    };
  # The facts are those of x86_64 machines.
  isRunnable = pkgs ? testers.runNixOSTest && pkgs.stdenv.hostPlatform.system == "x86_64-linux";
in
lib.optionalAttrs isRunnable (
  lib.listToAttrs (
    map (name: lib.nameValuePair "vm-${name}" (test name)) [
      "etcd"
      "mesh"
      "kubernetes"
      "k3s"
    ]
  )
)
