# An etcd member, three machines with a replicated database, and a worker with single databases and an application in
# front.
{
  cluster = {
    name = "databases";
    domain = "databases.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.120.1.0/24";
  machines = {
    etcd1 = { ip = "10.120.1.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    db1 = { ip = "10.120.1.3"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    db2 = { ip = "10.120.1.4"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    db3 = { ip = "10.120.1.5"; roles = [ "service" ]; apps = [ "mariadb" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.120.1.6"; roles = [ "worker" ]; apps = [ "nginx" "notes" "postgresql" "redis" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
