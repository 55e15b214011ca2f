# The flake's nixosModules. A node of a cluster has `default`, which is all of them with their
# options off; the others are parts for other configurations. Modules that several parts need are in
# each of them, and NixOS imports a file once.
let
  # Identity of a node and the base of all parts: its network, keys, firewall, gates.
  core = [
    ../modules/base.nix
    ../modules/certificates.nix
    ../modules/cluster.nix
    ../modules/fan-out.nix
    ../modules/firewall.nix
    ../modules/gates.nix
    ../modules/hosts.nix
    ../modules/keys.nix
    ../modules/lib.nix
    ../modules/networking.nix
    ../modules/node.nix
    ../modules/pki.nix
    ../modules/sandbox.nix
    ../modules/ssh.nix
    ../modules/users.nix
  ];
  etcd = [
    ../modules/etcd-restore.nix
    ../modules/etcd-snapshots.nix
    ../modules/etcd.nix
  ];
  bgpPassword = [ ../modules/bgp-password.nix ];
in
{
  default.imports = [ ../modules ];

  # The layout of a node's disk, with disko's module.
  disk.imports = core ++ [ ../modules/disk.nix ];

  etcd.imports = core ++ etcd;

  # A control plane may run its etcd member on the same node.
  kubernetes.imports = core ++ etcd ++ bgpPassword ++ [ ../modules/kubernetes ];

  k3s.imports = core ++ bgpPassword ++ [ ../modules/k3s ];

  # Includes the applications of a node and the overlay.
  mesh.imports =
    core
    ++ etcd
    ++ [
      ../modules/apps
      ../modules/mesh
      ../modules/overlay.nix
    ];

  router.imports = core ++ bgpPassword ++ [ ../modules/router.nix ];
}
