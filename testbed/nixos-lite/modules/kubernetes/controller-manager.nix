# services.kubernetes.controllerManager, with the flags of NixOS in NixOS' order.
{
  config,
  lib,
  pkgs,
  options,
  ...
}:
let
  inherit (lib) types;
  k8s = import ./lib.nix { inherit lib pkgs config options; };
  top = config.services.kubernetes;
  cfg = top.controllerManager;
in
{
  options.services.kubernetes.controllerManager = {
    enable = lib.mkEnableOption "Kubernetes controller manager";
    allocateNodeCIDRs = k8s.flag true "Whether nodes get a part of the pods' range.";
    bindAddress = k8s.text "127.0.0.1" "Address to listen on.";
    clusterCidr = k8s.like "clusterCidr" types.str "Range of the pods.";
    inherit (k8s) extraOpts featureGates verbosity;
    kubeconfig = k8s.kubeconfig "the controller manager";
    leaderElect = k8s.flag true "Whether one of several leads.";
    rootCaFile = k8s.caFile "Authority told to pods.";
    securePort = k8s.option types.int 10252 "Port to listen on.";
    serviceAccountKeyFile = k8s.file "Key that signs tokens.";
    tlsCertFile = k8s.file "Serving certificate.";
    tlsKeyFile = k8s.file "Serving key.";
  };

  config = lib.mkIf cfg.enable {
    services.kubernetes.controllerManager.kubeconfig.server = lib.mkDefault top.apiserverAddress;

    systemd.services.kube-controller-manager = k8s.unit // {
      description = "Kubernetes Controller Manager Service";
      after = [ "kube-apiserver.service" ];
      path = top.path;
      serviceConfig = k8s.asKubernetes // {
        RestartSec = "30s";
        ExecStart = k8s.command "kube-controller-manager" [
          (k8s.bool "allocate-node-cidrs" cfg.allocateNodeCIDRs)
          (k8s.always "bind-address" cfg.bindAddress)
          (k8s.given "cluster-cidr" cfg.clusterCidr)
          (k8s.gates cfg.featureGates)
          (k8s.always "kubeconfig" (k8s.mkKubeConfig "kube-controller-manager" cfg.kubeconfig))
          (k8s.bool "leader-elect" cfg.leaderElect)
          (k8s.given "root-ca-file" cfg.rootCaFile)
          (k8s.always "secure-port" cfg.securePort)
          (k8s.given "service-account-private-key-file" cfg.serviceAccountKeyFile)
          (k8s.given "tls-cert-file" cfg.tlsCertFile)
          (k8s.given "tls-private-key-file" cfg.tlsKeyFile)
          (lib.optional (lib.elem "RBAC" top.apiserver.authorizationMode) "--use-service-account-credentials")
          (k8s.given "v" cfg.verbosity)
          (k8s.raw cfg.extraOpts)
        ];
      };
    };
  };
}
