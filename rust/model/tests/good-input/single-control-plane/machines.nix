{
  cluster = { name = "solo"; orchestrator = "kubernetes"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";
  machines.solo = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
}
