{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "k3s";
  };

  network = {
    nodes = "10.13.13.0/24";
    overlay.backend = "tinc";
  };

  machines.s1 = { ip = "10.13.13.2"; roles = [ "control-plane" ]; };
}
