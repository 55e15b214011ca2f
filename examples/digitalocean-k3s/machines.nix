# A droplet of DigitalOcean, created by `machinist provision`: k3s, Traefik, cert-manager.
{
  cluster = {
    name = "digitalocean-k3s";
    domain = "digitalocean-k3s.internal";
    release = "26.05";
    orchestrator = "k3s";
    operators = import ./operators.nix;
  };

  network = {
    # The VPC, which provision creates.
    nodes = "10.20.0.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
  };

  # For both issuers, letsencrypt-staging and letsencrypt-production.
  kubernetes.acme.email = "ops@magi.dev";

  # Without `ip`: DigitalOcean chooses the address, and provision records it.
  machines.web = {
    roles = [
      "control-plane"
      "ingress"
      "worker"
    ];
    provider = "digitalocean";
    disk = "/dev/vda";
    digitalocean = {
      size = "s-2vcpu-4gb";
      region = "fra1";
    };
  };
}
