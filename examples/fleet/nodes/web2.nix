import ./web1.nix
