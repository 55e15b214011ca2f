# A file outside of secrets/, and a machine that does not exist.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  secrets = {
    "../key".nodes = [ "w1" ];
    "db.yaml".nodes = [ "w9" "@worker" "w*" ];
  };

  machines = {
    w1 = { ip = "10.13.13.2"; disk = "/dev/sda"; roles = [ "worker" ]; };
    w2 = { ip = "10.13.13.3"; disk = "/dev/sda"; roles = [ "worker" ]; };
  };
}
