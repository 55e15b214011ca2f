import ./edge1.nix
