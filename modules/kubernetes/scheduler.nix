# The scheduler of a control plane, at the API server beside it.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist.keys.units.kube-scheduler) files;
in
{
  config = lib.mkIf (cfg.enable && cfg.controlPlane) {
    services.kubernetes.scheduler = {
      enable = true;
      # Kubernetes' own port: NixOS still has that of the server without TLS, which is gone.
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
