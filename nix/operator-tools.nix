# Programs that machinist calls, and tools to inspect a cluster.
{ pkgs }:
[
  pkgs.age
  pkgs.doctl
  pkgs.etcd
  pkgs.git
  pkgs.hcloud
  pkgs.kubectl
  pkgs.nix
  pkgs.openssh
  pkgs.sops
]
