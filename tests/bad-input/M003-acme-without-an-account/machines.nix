{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  kubeMaster.ip = "10.13.13.10";

  kubernetes.acme = { };

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
  };
}
