# A pool by ARP with addresses of others, one that no host can have, and one of another link.
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
    ip = "10.13.13.200";
    mode = "arp";
  };

  kubernetes.loadBalancer.pool = [
    "10.13.13.0/29"
    "10.13.13.50-10.13.13.60"
    "10.13.13.195-10.13.13.205"
    "10.13.13.210-10.13.13.212"
    "10.13.14.0/24"
    "fd00::10-fd00::20"
  ];

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
    old = { ip = "10.13.13.211"; enable = false; };
  };
}
