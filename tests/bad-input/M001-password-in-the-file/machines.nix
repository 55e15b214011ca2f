{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  kubeMaster = {
    ip = "10.13.100.1";
    mode = "bgp";
    gateway = "router";
    as = 64512;
    bgpPassword = "hunter2";
  };

  machines = {
    router = { ip = "10.13.13.1"; nixos = false; bgp.as = 64513; };
    a = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" ]; };
    b = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" ]; };
    c = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" ]; };
  };
}
