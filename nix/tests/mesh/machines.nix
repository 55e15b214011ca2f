# Three members of etcd, and two workers with one instance of the same application each.
{
  cluster = {
    name = "mesh";
    domain = "mesh.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };

  network.nodes = "10.13.20.0/24";

  machines = {
    etcd1 = {
      ip = "10.13.20.2";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    etcd2 = {
      ip = "10.13.20.3";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    etcd3 = {
      ip = "10.13.20.4";
      roles = [ "etcd" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    w1 = {
      ip = "10.13.20.5";
      roles = [ "worker" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    w2 = {
      ip = "10.13.20.6";
      roles = [ "worker" ];
      interface = "eth1";
      disk = "/dev/vda";
    };
  };
}
