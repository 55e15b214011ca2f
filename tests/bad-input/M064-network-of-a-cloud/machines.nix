# An overlay by plain routes and a virtual IP by ARP, between servers of Hetzner Cloud.
{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    overlay.backend = "host-gw";
  };

  kubeMaster.ip = "10.13.13.100";

  kubernetes.loadBalancer.pool = [ "10.13.101.0/24" ];

  machines = {
    a = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
    b = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
    c = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; disk = "/dev/sda"; provider = "hetzner"; hetzner = { serverType = "cx23"; location = "nbg1"; }; };
  };
}
