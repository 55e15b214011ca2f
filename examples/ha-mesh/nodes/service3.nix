import ./service1.nix
