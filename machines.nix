# The cluster. Everything else is made from this file: `machinist check` reads it, `machinist generate` writes the
# nodes' facts, `machinist deploy --all` brings them to the machines.
{
  cluster = {
    name = "magi";
    domain = "magi.internal";
    release = "26.05";
    # null: a fleet of machines with etcd on top. This is where an orchestrator goes.
    orchestrator = null;
    # Who may log in as root, and who may open the private keys of certs/.
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
  };

  machines = {
    # Known, so that nothing else takes its address, but not ours to deploy.
    router = {
      ip = "10.13.13.1";
      nixos = false;
    };

    # Three voters: the cluster keeps working while any one of them is down. A role more makes a machine do more.
    balthazar = {
      ip = "10.13.13.2";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-1";
      labels.zone = "a";
    };

    melchior = {
      ip = "10.13.13.3";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-2";
      labels.zone = "b";
    };

    casper = {
      ip = "10.13.13.4";
      roles = [ "etcd" ];
      interface = "enp2s0";
      disk = "/dev/disk/by-id/nvme-3";
      labels.zone = "c";

      # Where SSH finds the machine, if that is not its address above.
      ssh = {
        host = "192.168.1.14";
        port = 22;
        user = "root";
      };
    };
  };
}
