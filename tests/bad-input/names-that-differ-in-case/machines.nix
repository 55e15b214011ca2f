{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    casper.ip = "10.13.13.4";
    Casper.ip = "10.13.13.5";
  };
}
