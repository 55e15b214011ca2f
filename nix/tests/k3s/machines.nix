# Three k3s servers, which are the members of its etcd, and an agent that joins at the API's address.
{
  cluster = {
    name = "k3s";
    domain = "k3s.internal";
    release = "26.05";
    orchestrator = "k3s";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
  };

  kubeMaster = {
    ip = "10.13.13.10";
    name = "kubernetes";
    mode = "arp";
  };

  machines = {
    s1 = {
      ip = "10.13.13.2";
      roles = [ "control-plane" ];
      clusterInit = true;
      interface = "eth1";
      disk = "/dev/vda";
    };

    s2 = {
      ip = "10.13.13.3";
      roles = [ "control-plane" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    s3 = {
      ip = "10.13.13.4";
      roles = [ "control-plane" ];
      interface = "eth1";
      disk = "/dev/vda";
    };

    a1 = {
      ip = "10.13.13.5";
      roles = [ "worker" ];
      interface = "eth1";
      disk = "/dev/vda";
    };
  };
}
