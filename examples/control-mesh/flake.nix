{
  description = "A cluster of NixOS machines, described in machines.nix";

  # Modules, packages and commands, with the nixpkgs that they were tested with. flake.lock says which version.
  inputs.machinist.url = "flake:machinist";

  # nixosConfigurations: one system for each file in generated/. apps: `nix run .#deploy` and the like.
  outputs =
    inputs:
    inputs.machinist.lib.mkCluster {
      inherit inputs;
      root = ./.;
    };
}
