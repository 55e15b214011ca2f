# Kubernetes from NixOS' own components, each enabled individually. NixOS' `roles`, `easyCerts` and
# addon manager are not used: they support a single control plane that issues its own certificates.
{ lib, ... }:
{
  imports = [
    (import ../api-endpoint.nix {
      name = "kubernetes";
      servesApi = cfg: cfg.controlPlane;
      servers = "control planes";
      defaultOverlay = "vxlan";
      kubeletSources = cfg: _: lib.attrValues cfg.controlPlanes;
    })
    ./apiserver.nix
    ./containerd.nix
    ./controller-manager.nix
    ./flannel.nix
    ./kube-vip.nix
    ./kubelet.nix
    ./options.nix
    ./proxy.nix
    ./scheduler.nix
    ./unwanted.nix
    ./version.nix
  ];
}
