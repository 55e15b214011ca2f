# Three machines of the local sandbox with one etcd cluster, and a router that machinist does not
# deploy.
{
  cluster = {
    name = "ha-etcd";
    domain = "ha-etcd.internal";
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
      provider = "sandbox";
      interface = "eth0";
      labels.zone = "a";
    };

    melchior = {
      ip = "10.13.13.3";
      roles = [ "etcd" ];
      provider = "sandbox";
      interface = "eth0";
      labels.zone = "b";
    };

    casper = {
      ip = "10.13.13.4";
      roles = [ "etcd" ];
      provider = "sandbox";
      interface = "eth0";
      labels.zone = "c";
    };
  };
}
