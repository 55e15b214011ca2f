{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.1/24";
    overlay = { backend = "vxlan"; network = "10.10.0.0"; };
  };

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "worker" ]; };
  };
}
