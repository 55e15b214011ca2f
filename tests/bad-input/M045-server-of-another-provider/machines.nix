# Settings of a server, without their provider.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    c = { ip = "10.13.13.3"; disk = "/dev/sda"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
    d = { ip = "10.13.13.4"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
  };
}
