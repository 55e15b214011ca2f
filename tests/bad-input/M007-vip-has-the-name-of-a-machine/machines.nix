{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  kubeMaster = {
    ip = "10.13.13.10";
    name = "casper.magi.internal";
  };

  machines = {
    casper.ip = "10.13.13.4";
  };
}
