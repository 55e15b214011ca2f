# A record with the name of a machine, which has its own; and one name of the ingress twice.
{
  cluster = {
    name = "magi";
    domain = "magi.example.com";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  dns = {
    zone = "example.com";
    ingress = [ "www" "www.example.com" ];
    records."w1.magi" = [ "203.0.113.9" ];
  };

  machines.w1 = { ip = "10.13.13.2"; disk = "/dev/sda"; roles = [ "ingress" ]; };
}
