# containerd, as NixOS configures it for the kubelet.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
in
{
  config = lib.mkIf (cfg.enable && cfg.nodeComponents) {
    # /etc/cni/net.d is a link into the store: containerd does not notice that it points elsewhere.
    systemd.services.containerd.restartTriggers = [ config.environment.etc."cni/net.d".source ];
  };
}
