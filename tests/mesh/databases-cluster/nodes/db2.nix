import ./db1.nix
