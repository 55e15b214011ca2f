# TCP 443 passes most networks, but an ingress listens there.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    control = {
      backend = "tinc";
      port = 443;
    };
  };

  machines = {
    a = { ip = "10.9.0.1"; roles = [ "etcd" "ingress" ]; endpoint = "203.0.113.1"; };
    b = { ip = "10.9.0.2"; roles = [ "etcd" ]; endpoint = "203.0.113.2"; };
    c = { ip = "10.9.0.3"; roles = [ "etcd" ]; endpoint = "203.0.113.3"; };
  };
}
