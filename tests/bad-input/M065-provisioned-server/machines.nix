# A server that `provision` would create with a private network, in a control mesh.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    control.backend = "wireguard";
  };

  machines.a = { ip = "10.9.0.2"; endpoint = "203.0.113.1"; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
}
