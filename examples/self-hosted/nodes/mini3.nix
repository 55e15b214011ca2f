import ./mini1.nix
