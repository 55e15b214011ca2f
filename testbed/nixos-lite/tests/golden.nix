# Texts that are compared with golden/, by file name.
let
  inherit (import ./sample.nix { }) config;
  unit = name: config.systemd.units.${name}.text;
  kubernetes = import ./kubernetes-sample.nix;
in
{
  "etcd.service" = unit "etcd.service";
  "sshd.service" = unit "sshd.service";
  "nftables.service" = unit "nftables.service";
  "network-addresses-eth0.service" = unit "network-addresses-eth0.service";
  "systemd-sysctl.service" = unit "systemd-sysctl.service";
  "network-addresses-eth0-start" = config.systemd.services.network-addresses-eth0.script;
  "network-addresses-eth0-stop" = config.systemd.services.network-addresses-eth0.preStop;
  "nixos-fw" = config.networking.nftables.tables.nixos-fw.content;
  "etcd-tmpfiles.conf" = config.environment.etc."tmpfiles.d/10-etcd.conf".text;
  "hosts" = config.environment.etc.hosts.text;
  "kube-apiserver.service" = kubernetes.systemd.units."kube-apiserver.service".text;
  "kube-controller-manager.service" = kubernetes.systemd.units."kube-controller-manager.service".text;
  "kube-scheduler.service" = kubernetes.systemd.units."kube-scheduler.service".text;
  "kube-proxy.service" = kubernetes.systemd.units."kube-proxy.service".text;
  "kubelet.service" = kubernetes.systemd.units."kubelet.service".text;
  "flannel.service" = kubernetes.systemd.units."flannel.service".text;
  "containerd.service" = kubernetes.systemd.units."containerd.service".text;
  "sshd_config" = config.services.openssh.extraConfig;
}
