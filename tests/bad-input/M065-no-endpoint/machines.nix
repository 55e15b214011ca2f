# A control mesh in which nobody can be reached, and a gateway that it would have to reach first.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    gateway = "10.9.0.254";
    control = {
      backend = "tinc";
      port = 2380;
    };
  };

  machines.a = { ip = "10.9.0.1"; interface = "enp2s0"; ssh.host = "home1"; };
  machines.b = { ip = "10.9.0.2"; ssh.host = "home2"; endpoint = "none"; };
  machines.c = { ip = "10.9.0.3"; ssh.host = "home3"; };
  machines.d = { ip = "10.9.0.4"; provider = "sandbox"; ssh.host = "home4"; };
}
