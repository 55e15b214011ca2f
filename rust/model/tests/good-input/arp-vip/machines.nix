{
  cluster = { name = "magi"; orchestrator = "kubernetes"; operators = import ../operators.nix; };
  network = { nodes = "10.13.13.0/24"; dns = "10.96.0.53"; };
  kubeMaster = { ip = "10.13.13.10"; name = "api.magi.internal"; port = 8443; };
  machines = {
    etcd1 = { ip = "10.13.13.2"; roles = [ "etcd" ]; };
    etcd2 = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    etcd3 = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
    cp1 = { ip = "10.13.13.5"; roles = [ "control-plane" ]; };
    cp2 = { ip = "10.13.13.6"; roles = [ "control-plane" ]; };
    w1 = { ip = "10.13.13.7"; roles = [ "worker" ]; };
  };
}
