# The mesh of nix-infra's own test in a cloud, in the sandbox: three control nodes, three service nodes with a
# replicated database, two workers, an ingress and a registry, with an overlay. With plain routes: the sandbox's kernel
# may have neither WireGuard nor VXLAN.
let
  machine = host: roles: more: { ip = "10.13.29.${toString host}"; inherit roles; provider = "sandbox"; interface = "eth0"; } // more;
in
{
  cluster = {
    name = "ha";
    domain = "ha.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network = {
    nodes = "10.13.29.0/24";
    overlay = { backend = "host-gw"; network = "10.78.0.0/16"; };
  };
  machines = {
    etcd1 = machine 2 [ "etcd" ] { };
    etcd2 = machine 3 [ "etcd" ] { };
    etcd3 = machine 4 [ "etcd" ] { };
    service1 = machine 5 [ "service" ] { apps = [ "mariadb" ]; };
    service2 = machine 6 [ "service" ] { apps = [ "mariadb" ]; };
    service3 = machine 7 [ "service" ] { apps = [ "mariadb" ]; };
    worker1 = machine 8 [ "worker" ] { apps = [ "notes" ]; };
    worker2 = machine 9 [ "worker" ] { apps = [ "notes" ]; };
    ingress1 = machine 10 [ "ingress" ] { };
    registry1 = machine 11 [ "service" ] { apps = [ "registry" ]; };
  };
}
