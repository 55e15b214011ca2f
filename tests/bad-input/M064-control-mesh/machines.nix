# An overlay by plain routes and a virtual IP by ARP in a control mesh.
{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.9.0.0/24";
    overlay.backend = "host-gw";
    control.backend = "wireguard";
  };

  kubeMaster.ip = "10.9.0.100";

  machines = {
    a = { ip = "10.9.0.1"; roles = [ "etcd" "control-plane" "worker" ]; endpoint = "203.0.113.1"; };
    b = { ip = "10.9.0.2"; roles = [ "etcd" "control-plane" "worker" ]; endpoint = "203.0.113.2"; };
    c = { ip = "10.9.0.3"; roles = [ "etcd" "control-plane" "worker" ]; endpoint = "203.0.113.3"; };
  };
}
