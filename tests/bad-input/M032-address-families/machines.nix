{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = [ "10.13.13.0/24" "fd00:13::/64" ];
  };

  machines = {
    a = { ip = "10.13.13.2"; };
    b = { ip = [ "10.13.13.3" "10.13.13.4" ]; };
    c = { ip = [ "10.13.13.5" "fd00:13::5" ]; };
  };
}
