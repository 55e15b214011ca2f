# Outputs of a flake for each platform: by output, then by platform, from a function of its
# packages.
nixpkgs: of:
let
  inherit (nixpkgs) lib;
  perSystem = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
    system: of nixpkgs.legacyPackages.${system}
  );
  output = name: lib.mapAttrs (_: outputs: outputs.${name}) perSystem;
in
lib.genAttrs (lib.attrNames perSystem.x86_64-linux) output
