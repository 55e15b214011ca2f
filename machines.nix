# The cluster. Everything else is derived from this file: `machinist check` validates it, `machinist
# generate` writes the nodes' facts, `machinist deploy --all` deploys them to the machines.
{
  cluster = {
    name = "magi";
    domain = "magi.internal";
    release = "26.05";
    # `null`: machines with etcd, without an orchestrator.
    orchestrator = null;
    # Users who may log in as root and decrypt the private keys in certs/.
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
  };

  machines = {
    # Listed to reserve its address; machinist does not deploy it.
    router = {
      ip = "10.13.13.1";
      nixos = false;
    };

    # Three voters: the cluster survives the loss of any one of them. Additional roles give a
    # machine more tasks.
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

      # The machine's SSH address, if it is not the address above.
      ssh = {
        host = "192.168.1.14";
        port = 22;
        user = "root";
      };
    };
  };
}
