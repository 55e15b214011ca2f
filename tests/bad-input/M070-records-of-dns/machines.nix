# A name with an underscore, targets that do not exist, a ttl of a second, and no ingress.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  dns = {
    provider = "hetzner";
    zone = "example.com";
    ttl = 1;
    ingress = [ "@" "www_1" ];
    records = {
      git = [ "w9" "2001:db8::7" "@worker" ];
      none = [ ];
    };
  };

  machines = {
    w1 = { ip = "10.13.13.2"; disk = "/dev/sda"; roles = [ "worker" ]; };
    w2 = { ip = "10.13.13.3"; disk = "/dev/sda"; roles = [ "worker" ]; };
  };
}
