# An etcd member, a worker and two ingress nodes, in the sandbox.
{
  cluster = {
    name = "ingress";
    domain = "ingress.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.21.0/24";
  machines = {
    edge1 = { ip = "10.13.21.2"; roles = [ "ingress" ]; provider = "sandbox"; interface = "eth0"; };
    edge2 = { ip = "10.13.21.3"; roles = [ "ingress" ]; provider = "sandbox"; interface = "eth0"; };
    etcd1 = { ip = "10.13.21.4"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.21.5"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
