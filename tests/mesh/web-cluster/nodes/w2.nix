import ./w1.nix
