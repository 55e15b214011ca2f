# Texts that are compared with golden/: file name to text.
let
  inherit (import ./sample.nix { }) config;
  unit = name: config.systemd.units.${name}.text;
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
  "sshd_config" = config.services.openssh.extraConfig;
}
