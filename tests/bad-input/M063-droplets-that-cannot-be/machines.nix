# A network that is wider than a VPC, a size with a space, and one that is right: without an address.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.0.0.0/8";

  machines = {
    a = { disk = "/dev/vda"; provider = "digitalocean"; digitalocean = { size = "s 1"; region = "fra1"; }; };
    d = { disk = "/dev/vda"; provider = "digitalocean"; digitalocean = { size = "s-1vcpu-1gb"; region = "fra1"; }; };
  };
}
