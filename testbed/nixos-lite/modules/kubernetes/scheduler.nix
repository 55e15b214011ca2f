# services.kubernetes.scheduler, with the flags of NixOS in NixOS' order.
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
  cfg = top.scheduler;
in
{
  options.services.kubernetes.scheduler = {
    enable = lib.mkEnableOption "Kubernetes scheduler";
    address = k8s.text "127.0.0.1" "Address to listen on.";
    inherit (k8s) extraOpts featureGates verbosity;
    kubeconfig = k8s.kubeconfig "the scheduler";
    leaderElect = k8s.flag true "Whether one of several leads.";
    port = k8s.option types.port 10251 "Port to listen on.";
  };

  config = lib.mkIf cfg.enable {
    services.kubernetes.scheduler.kubeconfig.server = lib.mkDefault top.apiserverAddress;

    systemd.services.kube-scheduler = k8s.unit // {
      description = "Kubernetes Scheduler Service";
      after = [ "kube-apiserver.service" ];
      serviceConfig = k8s.asKubernetes // {
        RestartSec = 5;
        ExecStart = k8s.command "kube-scheduler" [
          (k8s.always "bind-address" cfg.address)
          (k8s.gates cfg.featureGates)
          (k8s.always "kubeconfig" (k8s.mkKubeConfig "kube-scheduler" cfg.kubeconfig))
          (k8s.bool "leader-elect" cfg.leaderElect)
          (k8s.always "secure-port" cfg.port)
          (k8s.given "v" cfg.verbosity)
          (k8s.raw cfg.extraOpts)
        ];
      };
    };
  };
}
