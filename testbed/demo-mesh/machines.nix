# A service mesh on this computer: three etcd members, two applications on two workers, a replicated database behind one
# of them, and an ingress. Packets between nodes use an overlay: `wireguard` encrypts them, if the kernel supports it;
# this backend works everywhere.
{
  cluster = {
    name = "demo-mesh";
    domain = "mesh.internal";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network = {
    nodes = "10.13.14.0/24";
    overlay = { backend = "host-gw"; network = "10.79.0.0/16"; };
  };
  machines = {
    etcd1 = { ip = "10.13.14.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd2 = { ip = "10.13.14.3"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    etcd3 = { ip = "10.13.14.4"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.14.5"; roles = [ "worker" ]; apps = [ "notes" "web" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.14.6"; roles = [ "worker" ]; apps = [ "notes" "web" ]; provider = "sandbox"; interface = "eth0"; };
    db1 = { ip = "10.13.14.8"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    db2 = { ip = "10.13.14.9"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    db3 = { ip = "10.13.14.10"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    edge = { ip = "10.13.14.7"; roles = [ "ingress" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
