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
      nixos = "true";
      roles = "worker";
      labels.rack = 4;
    };
    b = [ "10.13.13.3" ];
  };
}
