# One machine with a public address: k3s, Traefik, cert-manager, and an application in `manifests/`.
{
  cluster = {
    name = "single-k3s";
    domain = "single-k3s.internal";
    release = "26.05";
    orchestrator = "k3s";
    operators = import ./operators.nix;
  };

  # The machine alone: the rest of its provider's 203.0.113.0/24 belongs to others, and nodes open
  # ports to all of `nodes`.
  network = {
    nodes = "203.0.113.10/32";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
  };

  # For both issuers, letsencrypt-staging and letsencrypt-production.
  kubernetes.acme.email = "ops@magi.dev";

  machines.web = {
    ip = "203.0.113.10";
    roles = [
      "control-plane"
      "ingress"
      "worker"
    ];
    provider = "digitalocean";
    disk = "/dev/vda";
  };
}
