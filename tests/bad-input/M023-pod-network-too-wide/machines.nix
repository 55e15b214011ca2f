{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "fd00:13::/64";
    pods = "fd42::/32";
  };

  machines = {
    a = { ip = "fd00:13::2"; roles = [ "etcd" "control-plane" ]; };
    b = { ip = "fd00:13::3"; roles = [ "etcd" ]; };
    c = { ip = "fd00:13::4"; roles = [ "etcd" ]; };
  };
}
