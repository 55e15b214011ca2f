# NixOS options that conflict with machinist's Kubernetes, refused with the reason.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  kubernetes = config.services.kubernetes;
  inherit (config.machinist.node) name;
  refuse = option: set: why: {
    assertion = !set;
    message = "services.kubernetes.${option} is set on ${name}, and ${why}: remove it.";
  };
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      (refuse "roles" (kubernetes.roles != [ ]) (
        "any role makes NixOS set up a single control plane with its own certificates and etcd"
      ))
      (refuse "easyCerts" kubernetes.easyCerts
        "NixOS would issue certificates in addition to machinist's"
      )
      (refuse "addonManager.enable" kubernetes.addonManager.enable (
        "it runs on every control plane at once and has no kubeconfig without easyCerts"
      ))
      (refuse "addons.dns.enable" kubernetes.addons.dns.enable "its objects are for the addon manager")
      (refuse "kubelet.unschedulable" (kubernetes.kubelet.enable && kubernetes.kubelet.unschedulable) (
        "`machinist objects` removes its taint from nodes; `taints` of the machine in machines.nix keeps pods off, and this"
      ))
      (refuse "flannel.enable" kubernetes.flannel.enable
        "flannel is set up by machinist, with its ports closed to others"
      )
      {
        assertion = kubernetes.apiserver.serviceClusterIpRange == lib.concatStringsSep "," cfg.services;
        message =
          "services.kubernetes.apiserver.serviceClusterIpRange of ${name} is not network.services of machines.nix, "
          + "from which certificates and the DNS address follow: change it there.";
      }
    ];
  };
}
