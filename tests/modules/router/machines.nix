# A Router of ours, in front of three control planes; the sessions have a password.
{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = [ ];
  };
  network.nodes = "10.13.13.0/24";
  kubeMaster = {
    ip = "10.13.100.1";
    mode = "bgp";
    gateway = "router";
    as = 64512;
    bgpPassword = true;
  };
  machines = {
    router = {
      ip = "10.13.13.1";
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-router";
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
      roles = [ "control-plane" "etcd" ];
      disk = "/dev/disk/by-id/nvme-cp3";
    };
  };
}
