# Three members of etcd, and the machine of an operator that is no part of the cluster.
{
  cluster = {
    name = "etcd";
    domain = "etcd.internal";
    release = "26.05";
    orchestrator = null;
    operators = import ./operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    router = {
      ip = "10.13.13.1";
      nixos = false;
    };

    balthazar = {
      ip = "10.13.13.2";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    melchior = {
      ip = "10.13.13.3";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    casper = {
      ip = "10.13.13.4";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };
  };
}
