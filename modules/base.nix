# Defaults that every node of a cluster wants, whatever it does.
{ config, lib, ... }:
{
  nix = {
    channel.enable = lib.mkDefault false;

    # A node keeps a month of generations to go back to; the running one is never collected.
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

  # A drop-in, since a member of etcd that elects in a loop fills a disk with its log.
  environment.etc."systemd/journald.conf.d/50-machinist.conf".text = lib.mkDefault ''
    [Journal]
    SystemMaxUse=1G
    MaxRetentionSec=1month
  '';

  # Leases, certificates and log order all need clocks that agree. A container has its host's clock.
  services.timesyncd.enable = lib.mkDefault (!config.boot.isContainer);
}
