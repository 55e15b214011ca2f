{
  cluster = { name = "both"; orchestrator = "kubernetes"; operators = import ../operators.nix; };
  network = {
    nodes = [ "fd00:13::/64" "10.13.13.0/24" ];
    pods = [ "10.42.0.0/16" "fd00:42::/48" ];
    services = [ "10.96.0.0/16" "fd00:96::/112" ];
  };
  kubeMaster = { ip = "10.13.13.10"; mode = "arp"; };
  machines = {
    a = { ip = [ "10.13.13.2" "fd00:13::2" ]; roles = [ "etcd" "control-plane" "worker" ]; };
    b = { ip = [ "fd00:13::3" "10.13.13.3" ]; roles = [ "etcd" "control-plane" "worker" ]; };
    c = { ip = [ "10.13.13.4" "fd00:13::4" ]; roles = [ "etcd" "control-plane" "worker" ]; };
    router = { ip = "10.13.13.1"; nixos = false; };
  };
}
