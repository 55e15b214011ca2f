{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "etcd" ]; };
    b = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    c = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
    d = { ip = "10.13.13.5"; roles = [ "etcd" ]; };
  };
}
