# A control mesh by a program that machinist does not have.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    control.backend = "wg";
  };

  machines.a = { ip = "10.9.0.1"; endpoint = "203.0.113.1"; };
}
