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
      disk = "/dev/disk/by-id/nvme-cp1";
    };
    cp2 = {
      ip = "10.13.13.3";
      roles = [ "control-plane" "etcd" ];
      disk = "/dev/disk/by-id/nvme-cp2";
    };
    cp3 = {
      ip = "10.13.13.4";
      roles = [ "control-plane" "etcd" "worker" ];
      disk = "/dev/disk/by-id/nvme-cp3";
    };
    w1 = {
      ip = "10.13.13.5";
      roles = [ "ingress" "worker" ];
      disk = "/dev/disk/by-id/nvme-w1";
      taints = [ "dedicated=edge:NoExecute" "gpu:NoSchedule" ];
    };
  };
}
