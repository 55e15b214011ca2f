{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "worker" ]; };
    router = { ip = "10.13.13.1"; nixos = false; roles = [ "ingress" "worker" ]; apps = [ "nginx" ]; };
  };
}
