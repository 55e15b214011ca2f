# A pool without a virtual IP, and an image that is not pinned.
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

  kubernetes.loadBalancer = { pool = [ "10.13.101.0/24" ]; image = "kube-vip-cloud-provider"; };

  machines = {
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
    old = { ip = "10.13.13.211"; enable = false; };
  };
}
