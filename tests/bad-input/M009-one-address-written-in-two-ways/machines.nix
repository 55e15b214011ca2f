{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; ssh.host = "fd77:9::9"; };
    b = { ip = "10.13.13.3"; ssh.host = "fd77:9:0::9"; };
    c = { ip = "10.13.13.4"; ssh.host = "gate.example.org"; };
    d = { ip = "10.13.13.5"; ssh.host = "gate.example.org."; };
    e = { ip = "10.13.13.6"; ssh.host = "::ffff:10.13.13.2"; };
    f = { ip = "10.13.13.7"; ssh.host = "a.magi.internal"; };
  };
}
