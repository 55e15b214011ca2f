# A service mesh on this computer: three members of etcd, an application on two workers, and the way in.
{
  cluster = {
    name = "demo-mesh";
    domain = "mesh.internal";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.14.0/24";
  machines = {
    etcd1 = { ip = "10.13.14.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd2 = { ip = "10.13.14.3"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd3 = { ip = "10.13.14.4"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.14.5"; roles = [ "worker" ]; apps = [ "web" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.14.6"; roles = [ "worker" ]; apps = [ "web" ]; provider = "sandbox"; interface = "eth0"; };
    edge = { ip = "10.13.14.7"; roles = [ "ingress" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
