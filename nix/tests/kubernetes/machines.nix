# Three control planes with etcd, and the machine of an operator. The API's address is in the nodes' network.
{
  cluster = {
    name = "kubernetes";
    domain = "kubernetes.internal";
    release = "26.05";
    orchestrator = "kubernetes";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    overlay.backend = "vxlan";
  };

  kubeMaster = {
    ip = "10.13.13.10";
    name = "kubernetes";
    mode = "arp";
  };

  machines = {
    router = {
      ip = "10.13.13.1";
      nixos = false;
    };

    balthazar = {
      ip = "10.13.13.2";
      roles = [
        "control-plane"
        "etcd"
      ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    melchior = {
      ip = "10.13.13.3";
      roles = [
        "control-plane"
        "etcd"
      ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    casper = {
      ip = "10.13.13.4";
      roles = [
        "control-plane"
        "etcd"
      ];
      interface = "eth1";
      disk = "/dev/vda";
    };
  };
}
