import ./node1.nix
