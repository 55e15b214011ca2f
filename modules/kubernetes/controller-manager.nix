# The controller manager of a control plane, which uses the node's own API server.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist.keys.units.kube-controller-manager) files;
in
{
  config = lib.mkIf (cfg.enable && cfg.controlPlane) {
    services.kubernetes.controllerManager = {
      enable = true;
      # Kubernetes' default port: NixOS still has that of the removed insecure server.
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
      # The pod CIDR of a node must not be allocated from the services' range.
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
