# A server needs a data center.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    e = { ip = "10.13.13.5"; disk = "/dev/sda"; provider = "hetzner"; hetzner.serverType = "cx23"; };
    d = { ip = "10.13.13.4"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
  };
}
