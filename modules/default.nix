{
  imports = [
    ./base.nix
    ./cluster.nix
    ./disk.nix
    ./etcd.nix
    ./firewall.nix
    ./hosts.nix
    ./keys.nix
    ./kubernetes
    ./networking.nix
    ./node.nix
    ./pki.nix
    ./sandbox.nix
    ./ssh.nix
    ./users.nix
  ];
}
