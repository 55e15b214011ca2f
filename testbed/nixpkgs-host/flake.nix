{
  description = "Real nixpkgs, whose packages run the machine's own programs";

  outputs =
    { self }:
    let
      # A checkout in the store, by its digest: as an input, Nix would read all of it again for each command.
      source = builtins.fetchTarball (builtins.fromJSON (builtins.readFile ./nixpkgs.json));
      nixpkgs = (import (source + "/flake.nix")).outputs { self = nixpkgs; } // {
        outPath = source;
        inherit (self) lastModifiedDate;
      };
      system =
        modules:
        nixpkgs.lib.nixosSystem {
          modules = modules ++ [
            ./machine.nix
            { nixpkgs.pkgs = import ./packages.nix { nixpkgs = source; }; }
          ];
        };
    in
    nixpkgs
    // {
      inherit (self) outPath;
      lib = nixpkgs.lib.extend (_: _: { nixosSystem = args: system args.modules; });
    };
}
