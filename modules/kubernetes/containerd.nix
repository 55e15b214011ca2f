# containerd, as NixOS configures it for the kubelet.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
in
{
  config = lib.mkIf (cfg.enable && cfg.nodeComponents) {
    # /etc/cni/net.d is a link into the store, and containerd does not notice when its target
    # changes.
    systemd.services.containerd.restartTriggers = [ config.environment.etc."cni/net.d".source ];
  };
}
