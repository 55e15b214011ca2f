import ./worker1.nix
