{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  kubernetes.coredns.replicas = 3;

  machines.web.ip = "10.13.13.2";
}
