# A service mesh: three members of etcd, two workers with a web application, service nodes with what it keeps its data in, and
# an ingress before it.
{
  cluster = {
    name = "ha-mesh";
    domain = "ha-mesh.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
  };

  machines = {
    etcd1 = {
      ip = "10.13.13.2";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-etcd1";
    };
    etcd2 = {
      ip = "10.13.13.3";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-etcd2";
    };
    etcd3 = {
      ip = "10.13.13.4";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-etcd3";
    };

    s1 = {
      ip = "10.13.13.5";
      roles = [ "service" ];
      apps = [ "postgresql" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-s1";
    };
    s2 = {
      ip = "10.13.13.6";
      roles = [ "service" ];
      apps = [ "redis" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-s2";
    };

    w1 = {
      ip = "10.13.13.7";
      roles = [ "worker" ];
      apps = [ "web" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-w1";
    };
    w2 = {
      ip = "10.13.13.8";
      roles = [ "worker" ];
      apps = [ "web" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-w2";
    };

    edge1 = {
      ip = "10.13.13.9";
      roles = [ "ingress" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-edge1";
    };
  };
}
