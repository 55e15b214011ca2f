# Packages that are another thing here than in nixpkgs.
final: prev:
let
  # A program that only checks what is built, and is compiled by a compiler of its own.
  unchecked =
    name:
    prev.runCommandLocal name
      {
        meta.mainProgram = name;
        passthru.compiler.bootstrapAvailable = true;
      }
      ''
        mkdir -p "$out/bin"
        ln -s /usr/bin/true "$out/bin/${name}"
      '';
in
{
  # Where nixpkgs would make another package set, as for static programs: the machine's own programs are the same.
  pkgsStatic = final;
  pkgsMusl = final;
  pkgsi686Linux = final;

  # nixpkgs assembles it from parts that it compiles.
  nix = final.stdenv.mkDerivation {
    pname = "nix";
    inherit (prev.nix) version;
    src.isStub = true;
    meta.mainProgram = "nix";
  };

  # With the version of the program that it runs: a deploy compares a system's version of etcd with the members'.
  etcd = final.stdenv.mkDerivation {
    pname = "etcd";
    version = prev.lib.trim (builtins.readFile ./etcd-version);
    src.isStub = true;
    meta.mainProgram = "etcd";
  };

  makeBinaryWrapper = final.makeShellWrapper;

  shellcheck = unchecked "shellcheck";
  shellcheck-minimal = unchecked "shellcheck";
  nixfmt = unchecked "nixfmt";
  pandoc = unchecked "pandoc";
}
