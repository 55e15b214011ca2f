# The machinist command.
{
  pkgs,
  # The URL of machinist's flake, which `machinist init` writes to a cluster's flake.nix. machinist
  # has no published address yet, so the package uses its source in the store. The publisher of
  # machinist sets the address here.
  url ? null,
}:
let
  inherit (pkgs) lib;
  root = ../.;

  # The workspace, and the files that the binary embeds for `machinist init`. It is a complete
  # flake.
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/Cargo.lock")
      (root + "/Cargo.toml")
      (root + "/app_modules")
      (root + "/apps")
      (root + "/examples")
      (root + "/flake.lock")
      (root + "/flake.nix")
      (root + "/modules")
      (root + "/nix")
      (root + "/rust")
      (root + "/testbed")
      (root + "/tests/ledger")
    ];
  };
in
pkgs.rustPlatform.buildRustPackage {
  pname = "machinist";
  version = (lib.importTOML (root + "/Cargo.toml")).workspace.package.version;

  inherit src;
  cargoLock.lockFile = root + "/Cargo.lock";
  cargoBuildFlags = [
    "--package"
    "machinist-cli"
  ];

  nativeBuildInputs = [
    pkgs.cargo-sbom
    pkgs.pkg-config
  ];
  # The crate ssh2 finds libssh2 by pkg-config and needs the same OpenSSL and zlib.
  buildInputs = [
    pkgs.libssh2
    pkgs.openssl
    pkgs.zlib
  ];
  env.LIBSSH2_SYS_USE_PKG_CONFIG = "1";
  env.MACHINIST_URL = if url == null then "path:${src}" else url;

  # The dependencies, as a section of the binary for `cargo audit bin`, and as a CycloneDX file.
  auditable = true;
  postInstall = ''
    mkdir -p "$out/share/sbom"
    cargo sbom --cargo-package machinist-cli --output-format cyclone_dx_json_1_6 >"$out/share/sbom/machinist.cdx.json"

    # Manual pages and completions, from the program's own command line.
    "$out/bin/machinist" man "$out/share/man/man1"
    mkdir -p "$out/share/bash-completion/completions" "$out/share/fish/vendor_completions.d" "$out/share/zsh/site-functions"
    "$out/bin/machinist" completions bash >"$out/share/bash-completion/completions/machinist"
    "$out/bin/machinist" completions fish >"$out/share/fish/vendor_completions.d/machinist.fish"
    "$out/bin/machinist" completions zsh >"$out/share/zsh/site-functions/_machinist"
  '';

  # The tests start nix, network namespaces and containers as root, which a build must not do:
  # `./test` runs them.
  doCheck = false;

  meta = {
    description = "Turns one machines.nix into a running, highly available cluster of NixOS machines";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "machinist";
    platforms = lib.platforms.linux;
  };
}
