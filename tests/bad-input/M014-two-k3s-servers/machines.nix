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
    a = { ip = "10.13.13.2"; roles = [ "control-plane" ]; clusterInit = true; };
    b = { ip = "10.13.13.3"; roles = [ "control-plane" ]; };
  };
}
