{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    release = "26.5";
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "worker" ]; };
  };
}
