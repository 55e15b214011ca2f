{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = {
      ip = "10.13.13.2";
      labels.zone = "rack 4";
      labels."disk type" = "ssd";
    };
  };
}
