# The scheduler of a control plane, which uses the node's own API server.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist.keys.units.kube-scheduler) files;
in
{
  config = lib.mkIf (cfg.enable && cfg.controlPlane) {
    services.kubernetes.scheduler = {
      enable = true;
      # Kubernetes' default port: NixOS still has that of the removed insecure server.
      port = 10259;
      kubeconfig = {
        server = cfg.localServer;
        certFile = files.kube-scheduler-client.certificate;
        keyFile = files.kube-scheduler-client.key;
      };
    };

    machinist.keys.units.kube-scheduler.leaves = [ "kube-scheduler-client" ];
  };
}
