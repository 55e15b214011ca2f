{ lib, ... }:
{
  cluster = { name = "six"; orchestrator = "kubernetes"; operators = import ../operators.nix; };
  network = { nodes = "fd00:13::/64"; gateway = "fe80::1"; nameservers = [ "fd00:13::53" ]; };
  kubeMaster.ip = "fd00:13::10";
  machines = {
    a = { ip = "fd00:13::2"; roles = [ "etcd" "control-plane" "worker" ]; };
    b = { ip = "fd00:13::3"; roles = [ "etcd" "control-plane" "worker" ]; };
    c = { ip = "fd00:13::4"; roles = [ "etcd" "control-plane" "worker" ]; };
  };
}
