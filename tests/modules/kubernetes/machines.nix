# Three control planes with etcd, two of which run no pods, and a worker that takes traffic; the address of the API is announced by BGP.
{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = [ ];
  };
  network = {
    nodes = "10.13.13.0/24";
    overlay.backend = "wireguard";
  };
  kubeMaster = {
    ip = "10.13.100.1";
    mode = "bgp";
    gateway = "router";
    as = 64512;
  };
  machines = {
    router = {
      ip = "10.13.13.1";
      nixos = false;
      bgp.as = 64513;
    };
    cp1 = {
      ip = "10.13.13.2";
      roles = [ "control-plane" "etcd" ];
    };
    cp2 = {
      ip = "10.13.13.3";
      roles = [ "control-plane" "etcd" ];
    };
    cp3 = {
      ip = "10.13.13.4";
      roles = [ "control-plane" "etcd" "worker" ];
    };
    w1 = {
      ip = "10.13.13.5";
      roles = [ "ingress" "worker" ];
      taints = [ "dedicated=edge:NoExecute" "gpu:NoSchedule" ];
    };
  };
}
