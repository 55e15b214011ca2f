let
  roles = [ "etcd" ];
  ip = "10.13.13.2";
in
{
  cluster = { name = "magi"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";

  machines = {
    a = { inherit ip roles; };
    b = {
      inherit roles;
      inherit ip;
    };
    c = { ip = "10.13.13.4"; inherit roles; };
  };
}
