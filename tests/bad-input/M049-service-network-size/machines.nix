{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "172.16.0.0/24";
    pods = "192.168.0.0/16";
    services = "10.0.0.0/8";
  };

  kubeMaster = {
    ip = "172.16.0.10";
    mode = "arp";
  };

  machines = {
    balthazar = { ip = "172.16.0.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "172.16.0.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "172.16.0.3"; roles = [ "etcd" "control-plane" "worker" ]; };
  };
}
