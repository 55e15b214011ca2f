# Three k3s servers, which are the members of its etcd, and an agent that receives external traffic.
{
  cluster = {
    name = "ha-k3s";
    domain = "ha-k3s.internal";
    release = "26.05";
    orchestrator = "k3s";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
    overlay.backend = "wireguard";
  };

  # One server at a time holds it.
  kubeMaster = {
    ip = "10.13.13.10";
    name = "kubernetes";
    mode = "arp";
  };

  machines = {
    # Founds the cluster once; afterwards it is a server like the others.
    s1 = {
      ip = "10.13.13.2";
      roles = [
        "control-plane"
        "worker"
      ];
      clusterInit = true;
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-s1";
      labels.zone = "a";
    };

    s2 = {
      ip = "10.13.13.3";
      roles = [
        "control-plane"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-s2";
      labels.zone = "b";
    };

    s3 = {
      ip = "10.13.13.4";
      roles = [
        "control-plane"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-s3";
      labels.zone = "c";
    };

    a1 = {
      ip = "10.13.13.5";
      roles = [
        "ingress"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-a1";
      labels.zone = "a";
    };
  };
}
