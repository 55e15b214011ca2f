# Development shell of machinist: its own tools, and those of a cluster's operator.
{ pkgs }:
pkgs.mkShell {
  packages = import ./operator-tools.nix { inherit pkgs; } ++ [
    pkgs.cargo
    pkgs.clippy
    pkgs.rust-analyzer
    pkgs.rustc
    pkgs.rustfmt

    # For the crate ssh2, which includes libssh2 but not OpenSSL.
    pkgs.openssl
    pkgs.pkg-config

    # For the crate etcd-client, which compiles etcd's protocol files.
    pkgs.protobuf
  ];
}
