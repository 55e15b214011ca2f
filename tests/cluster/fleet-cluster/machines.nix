# Machines without a cluster: no etcd, no certificates, no orchestrator. Only NixOS, from one file.
{
  cluster = {
    name = "fleet";
    domain = "fleet.internal";
    release = "26.05";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.27.0/24";
  machines = {
    node1 = { ip = "10.13.27.2"; roles = [ ]; provider = "sandbox"; interface = "eth0"; };
    node2 = { ip = "10.13.27.3"; roles = [ ]; provider = "sandbox"; interface = "eth0"; };
  };
}
