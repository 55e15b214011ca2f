# An endpoint with a port, and addresses of both families.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = [ "10.9.0.0/24" "fd09::/64" ];
    control.backend = "tinc";
  };

  machines.a = { ip = [ "10.9.0.1" "fd09::1" ]; endpoint = "203.0.113.1:655"; };
}
