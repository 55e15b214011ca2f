# The node agent of the mesh. In a cluster's own directory its sources are beside this file (`machinist init` writes them).
{ pkgs }:
let
  inherit (pkgs) lib;
  root = if builtins.pathExists ./agent-source then ./agent-source else ../.;
in
pkgs.rustPlatform.buildRustPackage {
  pname = "machinist-agent";
  version = (lib.importTOML (root + "/Cargo.toml")).workspace.package.version;

  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/Cargo.lock")
      (root + "/Cargo.toml")
      (root + "/rust/agent")
      (root + "/rust/mesh")
      (root + "/rust/text")
      # Cargo wants all members that Cargo.toml names.
      (lib.fileset.maybeMissing (root + "/testbed/clouds"))
      (lib.fileset.maybeMissing (root + "/tests/ledger"))
    ];
  };
  cargoLock.lockFile = root + "/Cargo.lock";
  cargoBuildFlags = [
    "--package"
    "machinist-agent"
  ];

  # The crate etcd-client compiles etcd's protocol files.
  nativeBuildInputs = [
    pkgs.cargo-sbom
    pkgs.protobuf
  ];

  # The dependencies, as a section of the binary for `cargo audit bin`, and as a CycloneDX file.
  auditable = true;
  postInstall = ''
    mkdir -p "$out/share/sbom"
    cargo sbom --cargo-package machinist-agent --output-format cyclone_dx_json_1_6 >"$out/share/sbom/machinist-agent.cdx.json"
  '';

  # The tests start servers, and need haproxy: `./test` runs them.
  doCheck = false;

  meta = {
    description = "Agent of the service mesh on each node";
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "machinist-agent";
    platforms = lib.platforms.linux;
  };
}
