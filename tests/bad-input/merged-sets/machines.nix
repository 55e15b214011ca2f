{ lib, ... }:
let
  common = { network.nodes = "10.13.13.0/24"; };
in
with lib;
common
// (
  {
    cluster = { name = "magi"; operators = import ../operators.nix; };
    machines.a.ip = "10.13.99.2";
  }
  // {
    machines = {
      a = { ip = "10.13.14.2"; };
      b = { ip = "10.13.13.3"; disk = "sdb"; };
    };
  }
)
