# Defaults for every node of a cluster, independent of its roles.
{ config, lib, ... }:
{
  nix = {
    channel.enable = lib.mkDefault false;

    # A node keeps a month of generations for rollbacks; the running one is never collected.
    gc = {
      automatic = lib.mkDefault true;
      dates = lib.mkDefault "weekly";
      options = lib.mkDefault "--delete-older-than 30d";
      randomizedDelaySec = lib.mkDefault "1h";
    };

    settings.experimental-features = [
      "nix-command"
      "flakes"
    ];
  };

  # Limits the journal, since an etcd member in an election loop fills a disk with its log. A
  # drop-in, so that other settings of journald can be added.
  environment.etc."systemd/journald.conf.d/50-machinist.conf".text = lib.mkDefault ''
    [Journal]
    SystemMaxUse=1G
    MaxRetentionSec=1month
  '';

  # Leases, certificates and the order of log entries depend on synchronised clocks. A container
  # uses its host's clock.
  services.timesyncd.enable = lib.mkDefault (!config.boot.isContainer);
}
