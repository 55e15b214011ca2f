# containerd, as NixOS configures it for the kubelet.
{ config, lib, ... }:
{
  config = lib.mkIf config.machinist.kubernetes.enable {
    # /etc/cni/net.d is a link into the store: containerd does not notice that it points elsewhere.
    systemd.services.containerd.restartTriggers = [ config.environment.etc."cni/net.d".source ];
  };
}
