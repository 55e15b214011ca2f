# An etcd member and three workers with an overlay, in the sandbox. With plain routes: the sandbox's kernel may have
# neither WireGuard nor VXLAN.
{
  cluster = {
    name = "overlay";
    domain = "overlay.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network = {
    nodes = "10.13.25.0/24";
    overlay = { backend = "host-gw"; network = "10.77.0.0/16"; };
  };
  machines = {
    etcd1 = { ip = "10.13.25.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.25.5"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.25.6"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
    w3 = { ip = "10.13.25.7"; roles = [ "worker" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
