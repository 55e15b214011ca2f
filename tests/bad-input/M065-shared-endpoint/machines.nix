# Two machines behind the same router, with the same port there.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    control.backend = "tinc";
  };

  machines = {
    a = { ip = "10.9.0.1"; roles = [ "etcd" ]; endpoint = "home.example.org"; };
    b = { ip = "10.9.0.2"; roles = [ "etcd" ]; endpoint = "Home.example.org"; };
    c = { ip = "10.9.0.3"; roles = [ "etcd" ]; endpoint = "203.0.113.3"; };
  };
}
