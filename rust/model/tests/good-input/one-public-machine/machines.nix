{
  cluster = { name = "solo"; orchestrator = "k3s"; operators = import ../operators.nix; };
  network.nodes = "203.0.113.10/32";
  machines.solo = { ip = "203.0.113.10"; roles = [ "control-plane" "worker" ]; clusterInit = true; provider = "digitalocean"; };
}
