{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = import ../operators.nix;
    release = "24.11";
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    b = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    c = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
  };
}
