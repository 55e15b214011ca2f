# A small machine for the tests, with more modules on request.
{
  modules ? [ ],
}:
let
  lib = import ../lib;
in
import ../nixos-system.nix { inherit lib; } {
  modules = [
    {
      nixpkgs.hostPlatform = "x86_64-linux";
      system.stateVersion = "26.05";
      fileSystems."/".device = "/dev/disk/by-label/root";
      boot.loader.grub.device = "nodev";
      networking = {
        hostName = "alpha";
        domain = "example.internal";
        useDHCP = false;
        nftables.enable = true;
        firewall.extraInputRules = "ip saddr 10.0.0.3 tcp dport 2380 accept";
        interfaces.eth0.ipv4.addresses = [
          {
            address = "10.0.0.2";
            prefixLength = 24;
          }
        ];
        defaultGateway = {
          address = "10.0.0.1";
          interface = "eth0";
        };
        hosts."10.0.0.3" = [ "beta" ];
      };
      services.etcd = {
        enable = true;
        clientCertAuth = true;
        trustedCaFile = "/etc/etcd/ca.pem";
        certFile = "/run/credentials/etcd.service/server.pem";
        keyFile = "/run/credentials/etcd.service/server.key";
        listenClientUrls = [
          "https://10.0.0.2:2379"
          "https://127.0.0.1:2379"
        ];
        extraConf.QUOTA_BACKEND_BYTES = "8589934592";
      };
      services.openssh = {
        enable = true;
        settings.PasswordAuthentication = false;
        hostKeys = [
          {
            type = "ed25519";
            path = "/etc/ssh/ssh_host_ed25519_key";
          }
        ];
      };
      users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA ops" ];
    }
  ]
  ++ modules;
}
