import ./ingress1.nix
