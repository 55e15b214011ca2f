# A service mesh: three etcd members, three service nodes with a replicated database, two workers
# with applications, an ingress, and an image registry. All of the mesh's packets between nodes are
# encrypted.
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
    overlay = {
      backend = "wireguard";
      network = "10.10.0.0/16";
    };
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

    service1 = {
      ip = "10.13.13.5";
      roles = [ "service" ];
      apps = [ "mariadb" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-service1";
    };
    service2 = {
      ip = "10.13.13.6";
      roles = [ "service" ];
      apps = [ "mariadb" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-service2";
    };
    service3 = {
      ip = "10.13.13.7";
      roles = [ "service" ];
      apps = [ "mariadb" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-service3";
    };

    worker1 = {
      ip = "10.13.13.8";
      roles = [ "worker" ];
      apps = [
        "notes"
        "web"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-worker1";
    };
    worker2 = {
      ip = "10.13.13.9";
      roles = [ "worker" ];
      apps = [
        "notes"
        "web"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-worker2";
    };

    ingress1 = {
      ip = "10.13.13.10";
      roles = [ "ingress" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-ingress1";
    };
    registry1 = {
      ip = "10.13.13.11";
      roles = [ "service" ];
      apps = [ "registry" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-registry1";
    };
  };
}
