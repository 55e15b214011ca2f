# Three etcd members and two workers with a replaceable application, in the sandbox.
{
  cluster = {
    name = "web";
    domain = "web.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.22.0/24";
  machines = {
    etcd1 = { ip = "10.13.22.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd2 = { ip = "10.13.22.3"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd3 = { ip = "10.13.22.4"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.22.5"; roles = [ "worker" ]; apps = [ "web" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.22.6"; roles = [ "worker" ]; apps = [ "web" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
