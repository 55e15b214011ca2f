# The programs that machinist calls, and those that one looks at a cluster with.
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
