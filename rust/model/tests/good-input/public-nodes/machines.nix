{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "mesh";
  };

  network.nodes = "203.0.113.0/28";
  network.allowPublicNodes = true;

  machines = {
    etcd1 = { ip = "203.0.113.2"; roles = [ "etcd" ]; };
    etcd2 = { ip = "203.0.113.3"; roles = [ "etcd" ]; };
    etcd3 = { ip = "203.0.113.4"; roles = [ "etcd" ]; };
    w1 = { ip = "203.0.113.5"; roles = [ "worker" ]; };
  };
}
