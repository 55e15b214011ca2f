# Three machines, each a control plane, etcd member and worker, and a router that learns the API's
# address by BGP from each of them.
{
  cluster = {
    name = "ha-kubernetes";
    domain = "ha-kubernetes.internal";
    release = "26.05";
    orchestrator = "kubernetes";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
    overlay.backend = "vxlan";
  };

  # Outside of every network: only the router's routes lead to it.
  kubeMaster = {
    ip = "10.13.100.1";
    name = "kubernetes";
    port = 6443;
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

    balthazar = {
      ip = "10.13.13.2";
      roles = [
        "control-plane"
        "etcd"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-balthazar";
      labels.zone = "a";
    };

    melchior = {
      ip = "10.13.13.3";
      roles = [
        "control-plane"
        "etcd"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-melchior";
      labels.zone = "b";
    };

    casper = {
      ip = "10.13.13.4";
      roles = [
        "control-plane"
        "etcd"
        "worker"
      ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-casper";
      labels.zone = "c";
    };
  };
}
