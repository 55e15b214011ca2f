# rustPlatform: nixos-lite cannot build Rust. A Rust package is replaced by the file of its
# program's name in ../prebuilt, where a test has placed a development build for machines; otherwise
# it runs the program of its name in the caller's PATH, and reports if that is missing.
{
  lib,
  pkgs,
  system,
}:
let
  buildRustPackage =
    fnOrAttrs:
    let
      attrs = if lib.isFunction fnOrAttrs then lib.internal.fix fnOrAttrs else fnOrAttrs;
      program = attrs.meta.mainProgram or attrs.pname;
      prebuilt = ../prebuilt + "/${program}";
    in
    if builtins.pathExists prebuilt then
      pkgs.runCommand "${attrs.pname}-${attrs.version}"
        {
          file = builtins.path {
            name = program;
            path = prebuilt;
          };
          passthru = {
            inherit (attrs) pname version;
          }
          // attrs.passthru or { };
          meta = {
            mainProgram = program;
          }
          // attrs.meta or { };
        }
        ''
          mkdir -p "$out/bin"
          cp "$file" "$out/bin/${program}"
          chmod 0555 "$out/bin/${program}"
        ''
    else
    pkgs.writeTextFile {
      inherit (attrs) pname version;
      name = "${attrs.pname}-${attrs.version}-stand-in";
      executable = true;
      destination = "/bin/${program}";
      passthru = attrs.passthru or { };
      meta = {
        mainProgram = program;
      }
      // attrs.meta or { };
      text = ''
        #!/bin/sh
        # nixos-lite cannot build Rust: this stands in for ${attrs.pname} and runs the one in PATH.
        dirs=$PATH:/usr/local/bin:/usr/bin:$HOME/.cargo/bin
        IFS=:
        for dir in $dirs; do
          case $dir in /nix/store/* | /run/current-system/* | "") continue ;; esac
          if [ -x "$dir/${program}" ]; then exec "$dir/${program}" "$@"; fi
        done
        echo "nixos-lite cannot build Rust packages, and there is no '${program}' in PATH: build it with cargo and add it to PATH, or use real nixpkgs." >&2
        exit 127
      '';
    };
in
{
  rustPlatform = {
    inherit buildRustPackage;
    importCargoLock = _: null;
    fetchCargoVendor = _: null;
    rustLibSrc = null;
  };
}
