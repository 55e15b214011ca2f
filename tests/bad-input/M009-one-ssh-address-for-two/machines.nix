{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; };
    b = { ip = "10.13.13.3"; ssh.host = "10.13.13.2"; };
    c = { ip = "10.13.13.4"; ssh = { host = "gate.example.org"; port = 2201; }; };
    d = { ip = "10.13.13.5"; ssh = { host = "gate.example.org"; port = 2202; }; };
    e = { ip = "10.13.13.6"; ssh = { host = "gate.example.org"; port = 2202; }; };
  };
}
