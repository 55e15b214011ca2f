# A pool by ARP with the broadcast address of a short network.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "10.13.13.0/26";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    gateway = "10.13.13.1";
    
    overlay.backend = "vxlan";
  };

  kubeMaster = {
    ip = "10.13.13.40";
    mode = "arp";
  };

  kubernetes.loadBalancer.pool = [ "10.13.13.48/28" ];

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    casper = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; };
    melchior = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; };
    old = { ip = "10.13.13.33"; enable = false; };
  };
}
