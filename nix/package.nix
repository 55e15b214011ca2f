# The machinist command.
{
  pkgs,
  # The URL of machinist's flake, which `machinist init` writes into a cluster's flake.nix. machinist has no address of its own yet:
  # the package names its source in the store. Who publishes machinist writes the address here.
  url ? null,
}:
let
  inherit (pkgs) lib;
  root = ../.;

  # The workspace, and what the binary carries in itself for `machinist init`. It is a flake as it is.
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

  # The dependencies, as a section of the binary that `cargo audit bin` reads, and as a file in CycloneDX.
  auditable = true;
  postInstall = ''
    mkdir -p "$out/share/sbom"
    cargo sbom --cargo-package machinist-cli --output-format cyclone_dx_json_1_6 >"$out/share/sbom/machinist.cdx.json"
  '';

  # The tests start nix, network namespaces and containers as root, which a build must not. `./test` runs them.
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
