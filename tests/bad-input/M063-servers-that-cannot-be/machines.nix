# A type with a space, the gateway's address, no public address, and one that is right.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    a = { ip = "10.13.13.1"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx 23"; location = "nbg1"; }; };
    b = { ip = "10.13.13.2"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; ipv4 = false; ipv6 = false; }; };
    d = { ip = "10.13.13.4"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
  };
}
