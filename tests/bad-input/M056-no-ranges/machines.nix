# Texts that are no ranges, or have no address for a Service.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.53" ];
    overlay.backend = "vxlan";
  };

  kubeMaster = {
    ip = "10.13.100.1";
    mode = "bgp";
    gateway = "router";
    as = 64512;
  };

  kubernetes.loadBalancer.pool = [
    "10.13.101.1"
    "10.13.101.1/24"
    "10.13.101.9-10.13.101.2"
    "10.13.101.9-fd00::1"
    "10.13.101.0/32"
    "services"
  ];

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
    old = { ip = "10.13.13.211"; enable = false; };
    router = { ip = "10.13.13.1"; nixos = false; bgp.as = 64513; };
  };
}
