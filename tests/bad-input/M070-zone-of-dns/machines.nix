# A zone with a final dot.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  dns = {
    zone = "Example.com.";
  };

  machines.w1 = { ip = "10.13.13.2"; disk = "/dev/sda"; public = [ "203.0.113.7" ]; };
}
