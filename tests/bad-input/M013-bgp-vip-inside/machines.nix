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
    mode = "bgp";
    gateway = "router";
    as = 64512;
  };

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
    router = { ip = "10.13.13.1"; nixos = false; bgp.as = 64513; };
  };
}
