# kube-proxy of every node, by the same name as the kubelet.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.lib.machinist) pki;
in
{
  config = lib.mkIf (cfg.enable && cfg.nodeComponents) {
    services.kubernetes.proxy = {
      enable = true;
      hostname = config.machinist.node.name;
      kubeconfig = {
        inherit (cfg) server;
        certFile = pki.certificate "kube-proxy-client";
        keyFile = pki.key "kube-proxy-client";
      };
    };

    machinist.keys.root = [ "kube-proxy-client" ];
    systemd.services.kube-proxy = {
      wants = [ "machinist-keys.service" ];
      after = [ "machinist-keys.service" ];
    };
  };
}
