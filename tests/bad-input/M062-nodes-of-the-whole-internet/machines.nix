{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "mesh";
  };

  network.nodes = "0.0.0.0/0";

  machines = {
    etcd1 = { ip = "10.13.13.2"; roles = [ "etcd" ]; };
    etcd2 = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    etcd3 = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
    w1 = { ip = "10.13.13.5"; roles = [ "worker" ]; };
  };
}
