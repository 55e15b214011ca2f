{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  kubeMaster = {
    ip = "10.13.13.10";
    port = 2379;
  };

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
    w1 = { ip = "10.13.13.5"; ssh.port = 70000; };
    w2 = { ip = "10.13.13.6"; ssh.port = 0; };
    w3 = { ip = "10.13.13.7"; ssh.port = -1; };
  };
}
