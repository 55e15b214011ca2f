# Programs that machinist calls, and tools to inspect a cluster.
{ pkgs }:
[
  pkgs.age
  pkgs.doctl
  pkgs.etcd
  pkgs.git
  pkgs.hcloud
  pkgs.kubectl
  pkgs.kubernetes-helm
  pkgs.nix
  pkgs.openssh
  pkgs.podman
  pkgs.skopeo
  pkgs.sops
]
