# Members of etcd at two providers, whose private networks are two.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "etcd" ]; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
    b = { roles = [ "etcd" ]; disk = "/dev/vda"; provider = "digitalocean"; digitalocean = { size = "s-2vcpu-4gb"; region = "fra1"; }; };
    c = { ip = "10.13.13.4"; roles = [ "etcd" ]; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
  };
}
