# A droplet needs a data center; its address is the provider's choice.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    e = { disk = "/dev/vda"; provider = "digitalocean"; digitalocean.size = "s-1vcpu-1gb"; };
    d = { disk = "/dev/vda"; provider = "digitalocean"; digitalocean = { size = "s-1vcpu-1gb"; region = "fra1"; }; };
  };
}
