{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a.ip = "10.13.13.256";
    b.ip = "10.13.13.3/24";
    c.ip = "c.magi.internal";
  };
}
