{
  description = "A test double of nixpkgs for machines without network access to it";

  outputs =
    { self }:
    let
      lib = import ./lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      nixosSystem = import ./nixos-system.nix { inherit lib; };
    in
    {
      lib = builtins.removeAttrs lib [ "internal" ] // {
        inherit nixosSystem;
      };

      legacyPackages = lib.genAttrs systems (system: import ./pkgs { inherit lib system; });

      # Stand-ins for the modules of disko and sops-nix: an input of that name can be overridden with this flake.
      nixosModules = {
        disko = import ./stand-ins/disko.nix;
        sops = import ./stand-ins/sops.nix;
      };
    };
}
