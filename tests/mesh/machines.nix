# Three etcd members and two workers, in the sandbox.
{
  cluster = {
    name = "mesh";
    domain = "mesh.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.20.0/24";
  machines = {
    etcd1 = { ip = "10.13.20.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd2 = { ip = "10.13.20.3"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd3 = { ip = "10.13.20.4"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.20.5"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.20.6"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
