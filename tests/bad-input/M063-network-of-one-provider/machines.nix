# A name that is too long with that of the machine, and a network that is narrower than a private network of Hetzner Cloud can be, and with IPv6.
{
  cluster = {
    name = "magi-with-a-name-that-is-itself-nearly-as-long-as-any-host-name";
    operators = import ../operators.nix;
  };

  network.nodes = [ "10.13.13.0/28" "fd00:13::/64" ];

  machines.a = {
    ip = [ "10.13.13.2" "fd00:13::2" ];
    disk = "/dev/sda";
    provider = "hetzner";
    hetzner = { serverType = "cx23"; location = "nbg1"; };
  };
}
