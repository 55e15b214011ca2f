{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.14.2"; };
    b = { ip = "10.13.13.0"; };
    c = { ip = "10.13.13.255"; };
    router = { ip = "192.168.1.1"; nixos = false; };
  };
}
