# The controller manager of a control plane, at the API server beside it.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist.keys.units.kube-controller-manager) files;
in
{
  config = lib.mkIf (cfg.enable && cfg.controlPlane) {
    services.kubernetes.controllerManager = {
      enable = true;
      # Kubernetes' own port: NixOS still has that of the server without TLS, which is gone.
      securePort = 10257;
      allocateNodeCIDRs = true;
      kubeconfig = {
        server = cfg.localServer;
        certFile = files.kube-controller-manager-client.certificate;
        keyFile = files.kube-controller-manager-client.key;
      };
      tlsCertFile = files.kube-controller-manager.certificate;
      tlsKeyFile = files.kube-controller-manager.key;
      serviceAccountKeyFile = files.service-account.key;
      # A node's part of the pods' range must not be taken from the services'.
      extraOpts = "--service-cluster-ip-range=${lib.concatStringsSep "," cfg.services}";
    };

    machinist.keys.units.kube-controller-manager = {
      leaves = [
        "kube-controller-manager"
        "kube-controller-manager-client"
      ];
      keyPairs = [ "service-account" ];
    };
  };
}
