{
  description = "A service mesh: three members of etcd, workers with applications, their databases, an ingress";

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

  # nixosConfigurations: one system for each file in generated/. lib.machines: machines.nix as a value.
  outputs =
    inputs:
    import ../../nix/cluster.nix {
      inherit inputs;
      root = ./.;
    };
}
