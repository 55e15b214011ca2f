{
  cluster = { name = "solo"; orchestrator = "k3s"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";
  machines.solo = { ip = "10.13.13.2"; roles = [ "control-plane" "worker" ]; clusterInit = true; provider = "digitalocean"; };
}
