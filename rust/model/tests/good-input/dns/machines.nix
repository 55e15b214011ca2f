# Names relative and in full, the nodes below the cluster's domain, and an API endpoint whose name is in the zone.
{
  cluster = { name = "magi"; domain = "magi.example.com"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";
  dns = {
    provider = "digitalocean";
    zone = "example.com";
    ingress = [ "example.com" "www" "*.apps.example.com" ];
    records."git.example.com" = [ "w1" "2001:db8::9" "@ingress" ];
  };
  machines.w1 = { ip = "10.13.13.2"; roles = [ "ingress" ]; public = [ "203.0.113.7" "2001:db8::7" ]; };
}
