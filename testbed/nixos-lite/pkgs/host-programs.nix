# Packages that run the machine's own programs. A package is built whether or not the machine has
# the program: the wrapper searches for it when it runs, and reports if it is missing.
{
  lib,
  pkgs,
  system,
}:
let
  programs = import ./host-program-table.nix;

  # Searches a package's own directories first, as iproute2 has a `bridge` too, then the usual ones, so
  # that a wrapper never finds itself, then the caller's PATH outside the store.
  run = ''
    #!/bin/sh
    # nixos-lite: runs the machine's own program of the name this was called by.
    name=''${0##*/}
    dirs=@search@:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$HOME/.cargo/bin:$PATH
    IFS=:
    for dir in $dirs; do
      case $dir in /nix/store/* | /run/current-system/* | "") continue ;; esac
      if [ -x "$dir/$name" ]; then exec "$dir/$name" "$@"; fi
    done
    echo "nixos-lite: this machine has no program '$name'. Packages of nixos-lite (a test double of nixpkgs) only run what is installed: install it, or use real nixpkgs." >&2
    exit 127
  '';

  wrap =
    attribute: entry:
    let
      pname = entry.pname or attribute;
      mainProgram = entry.main or pname;
      names = entry.programs or [ mainProgram ];
    in
    pkgs.runCommand "${pname}-${entry.version}"
      {
        inherit run;
        passAsFile = [ "run" ];
        programs = names;
        meta = {
          inherit mainProgram;
          description = "${pname} of the machine, wrapped by nixos-lite";
          platforms = [ system ];
          maintainers = [ ];
        };
        passthru = {
          inherit pname;
          inherit (entry) version;
        }
        // lib.optionalAttrs (entry ? shell) { shellPath = "/bin/${entry.shell}"; }
        // entry.passthru or { };
      }
      ''
        mkdir -p "$out/bin" "$out/libexec"
        sed 's|@search@|${
          lib.concatStringsSep ":" (entry.search or [ ])
        }|' "$runPath" > "$out/libexec/nixos-lite-run"
        chmod 0555 "$out/libexec/nixos-lite-run"
        for program in $programs; do ln -s ../libexec/nixos-lite-run "$out/bin/$program"; done
        ${lib.concatMapStrings (name: ''
          ln -s nixos-lite-run "$out/libexec/${name}"
        '') (entry.libexec or [ ])}
        ${lib.concatStrings (
          lib.mapAttrsToList (path: text: ''
            mkdir -p "$out/${dirOf path}"
            ln -s ${pkgs.writeText (baseNameOf path) text} "$out/${path}"
          '') (entry.files or { })
        )}
      '';
  packages = builtins.mapAttrs wrap programs;
in
packages
// {
  bashInteractive = packages.bash;
  nixfmt-rfc-style = packages.nixfmt;
  nixVersions.stable = packages.nix;
  nixVersions.latest = packages.nix;
  shadow = packages.shadow // {
    shellPath = "/bin/nologin";
  };
  # The machine's python3 with the modules installed for it.
  python3 = packages.python3 // {
    withPackages = _: packages.python3;
  };
  # A library that the machine's server loads.
  mariadb-galera = pkgs.runCommand "mariadb-galera-host" { } ''
    mkdir -p "$out/lib/galera"
    ln -s /usr/lib/galera/libgalera_smm.so "$out/lib/galera/"
  '';
  # The machine's certificates.
  cacert = pkgs.runCommand "nss-cacert-host" { } ''
    mkdir -p "$out/etc/ssl/certs"
    ln -s /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-bundle.crt"
  '';
}
