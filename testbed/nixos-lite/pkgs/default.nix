# The package set of nixos-lite: the machine's own programs, wrapped, and the builders that modules use.
{
  lib,
  system,
  config ? { },
  overlays ? [ ],
}:
let
  inherit (lib) internal;

  base =
    final:
    let
      call = file: import file { inherit lib system; pkgs = final; };
    in
    call ./platform.nix
    // call ./builders.nix
    // call ./writers.nix
    // call ./host-programs.nix
    // call ./rust.nix
    // {
      inherit lib config system;
      _type = "pkgs";
      pkgs = final;
      path = ../.;
      buildPackages = final;
      pkgsBuildHost = final;
      targetPackages = final;
      formats = call ./formats.nix;
      callPackage = internal.callPackageWith final;
      callPackages = internal.callPackagesWith final;
      newScope = extra: internal.callPackageWith (final // extra);
      inherit overlays;
    };

  make =
    overlays:
    let
      final = internal.foldl' (f: overlay: internal.extends overlay f) base overlays final // {
        extend = overlay: make (overlays ++ [ overlay ]);
        appendOverlays = more: make (overlays ++ more);
      };
    in
    final;
in
make overlays
