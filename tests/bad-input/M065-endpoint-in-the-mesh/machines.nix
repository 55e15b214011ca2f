# Endpoints that lead nowhere: an address of the mesh itself, this machine, a name that resolvers read as an address.
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
    a = { ip = "10.9.0.1"; roles = [ "etcd" ]; endpoint = "10.9.0.1"; };
    b = { ip = "10.9.0.2"; roles = [ "etcd" ]; public = [ "127.0.0.1" ]; };
    c = { ip = "10.9.0.3"; roles = [ "etcd" ]; endpoint = "203.0.113"; };
  };
}
