# Settings of a droplet, with another provider.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    c = { ip = "10.13.13.3"; disk = "/dev/vda"; provider = "hetzner"; digitalocean = { size = "s-1vcpu-1gb"; region = "fra1"; }; };
    d = { disk = "/dev/vda"; provider = "digitalocean"; digitalocean = { size = "s-1vcpu-1gb"; region = "fra1"; }; };
  };
}
