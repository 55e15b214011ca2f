rec {
  cluster.name = "magi";
  cluster.operators = import ../operators.nix;
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
  machines.a.labels."example.org/zone" = "-a-";
  machines.a.ssh.port = 99999;
  machines."b" = machines.a // { ip = "10.13.14.3"; labels = { }; };
}
