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
      inherit (inputs.nixpkgs) lib;
      cluster = import ./nix/cluster.nix {
        inherit inputs;
        root = ./.;
      };

      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      perSystem = lib.genAttrs systems (
        system:
        import ./nix/per-system.nix {
          inherit inputs;
          pkgs = inputs.nixpkgs.legacyPackages.${system};
        }
      );
      output = name: lib.mapAttrs (_: outputs: outputs.${name}) perSystem;
    in
    {
      inherit (cluster) lib nixosConfigurations;
      nixosModules.default.imports = [ ./modules ];
    }
    // lib.genAttrs [
      "apps"
      "checks"
      "devShells"
      "formatter"
      "legacyPackages"
      "packages"
    ] output;
}
