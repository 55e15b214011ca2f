{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "k3s";
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    s1 = { ip = "10.13.13.2"; roles = [ "control-plane" ]; clusterInit = true; };
    s2 = { ip = "10.13.13.3"; roles = [ "control-plane" ]; clusterInit = true; };
    s3 = { ip = "10.13.13.4"; roles = [ "control-plane" ]; };
    w1 = { ip = "10.13.13.5"; roles = [ "worker" ]; clusterInit = true; };
  };
}
