{
  imports = [
    ./base.nix
    ./cluster.nix
    ./disk.nix
    ./etcd.nix
    ./fan-out.nix
    ./firewall.nix
    ./hosts.nix
    ./keys.nix
    ./networking.nix
    ./node.nix
    ./pki.nix
    ./sandbox.nix
    ./ssh.nix
    ./users.nix
  ];
}
