{
  description = "machinist: one machines.nix becomes a running, highly available cluster of NixOS machines";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    sops-nix = {
      url = "github:Mic92/sops-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    inputs:
    let
      mkCluster = import ./nix/mk-cluster.nix { machinist = inputs; };
      # The cluster of this directory, as any other has it.
      cluster = import ./nix/cluster.nix {
        inherit inputs;
        root = ./.;
      };

      perSystem = import ./nix/systems.nix inputs.nixpkgs (
        pkgs:
        let
          commands = import ./nix/commands.nix { inherit pkgs; };
        in
        commands
        // {
          checks = import ./nix/checks.nix {
            inherit inputs pkgs;
            inherit (commands.packages) machinist;
          };
          devShells.default = import ./nix/devshell.nix { inherit pkgs; };
          formatter = import ./nix/formatter.nix { inherit pkgs; };
        }
      );
    in
    {
      lib = cluster.lib // {
        inherit mkCluster;
      };
      inherit (cluster) nixosConfigurations;
      nixosModules = import ./nix/modules.nix;
      overlays.default = import ./nix/overlay.nix;
      templates = import ./nix/templates.nix;
    }
    // perSystem;
}
