{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "k3s";
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    s1 = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" ]; };
    e1 = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    e2 = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
  };
}
