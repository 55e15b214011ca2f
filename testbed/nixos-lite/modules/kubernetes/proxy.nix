# services.kubernetes.proxy, with the flags of NixOS in NixOS' order.
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
  cfg = top.proxy;
in
{
  options.services.kubernetes.proxy = {
    enable = lib.mkEnableOption "Kubernetes proxy";
    bindAddress = k8s.text "0.0.0.0" "Address to listen on.";
    inherit (k8s) extraOpts featureGates verbosity;
    hostname = lib.mkOption {
      type = types.str;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "The node's name.";
    };
    kubeconfig = k8s.kubeconfig "the proxy";
  };

  config = lib.mkIf cfg.enable {
    services.kubernetes.proxy.hostname = lib.mkDefault config.networking.hostName;
    services.kubernetes.proxy.kubeconfig.server = lib.mkDefault top.apiserverAddress;

    systemd.services.kube-proxy = k8s.unit // {
      description = "Kubernetes Proxy Service";
      after = [ "kube-apiserver.service" ];
      path = [
        pkgs.iptables
        pkgs.conntrack-tools
      ];
      serviceConfig = k8s.serviceConfig // {
        RestartSec = 5;
        ExecStart = k8s.command "kube-proxy" [
          (k8s.always "bind-address" cfg.bindAddress)
          (k8s.given "cluster-cidr" top.clusterCidr)
          (k8s.gates cfg.featureGates)
          (k8s.always "hostname-override" cfg.hostname)
          (k8s.always "kubeconfig" (k8s.mkKubeConfig "kube-proxy" cfg.kubeconfig))
          (k8s.given "v" cfg.verbosity)
          (k8s.raw cfg.extraOpts)
        ];
      };
    };
  };
}
