{ lib, ... }:
let
  node = number: {
    ip = "10.13.13.${toString number}";
    roles = [ "etcd" ];
  };
in
{
  cluster = { name = "magi"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";

  machines = {
    a = node 2;
    b = node 2;
    c = node 4;
  };
}
