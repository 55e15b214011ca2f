# Two machines behind NAT in a mesh of WireGuard, and one without a way in for operators.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    control.backend = "wireguard";
  };

  machines = {
    a = { ip = "10.9.0.1"; roles = [ "etcd" ]; endpoint = "203.0.113.1"; };
    b = { ip = "10.9.0.2"; roles = [ "etcd" ]; endpoint = "none"; ssh.host = "home1"; };
    c = { ip = "10.9.0.3"; roles = [ "etcd" ]; };
  };
}
