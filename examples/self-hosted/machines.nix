# Three mini PCs at home or in a rack: each is an etcd member, runs the applications and takes
# requests, so any one of them may fail.
{
  cluster = {
    name = "self-hosted";
    domain = "self-hosted.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "192.168.1.0/24";
    gateway = "192.168.1.1";
    nameservers = [ "192.168.1.1" ];
    overlay = {
      backend = "wireguard";
      network = "10.10.0.0/16";
    };
  };

  # Replace addresses, interfaces and disks with those of your machines; `machinist install NAME`
  # erases that disk.
  machines = {
    mini1 = {
      ip = "192.168.1.11";
      roles = [
        "etcd"
        "worker"
        "ingress"
      ];
      apps = [ "web" ];
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-mini1";
    };
    mini2 = {
      ip = "192.168.1.12";
      roles = [
        "etcd"
        "worker"
        "ingress"
      ];
      apps = [ "web" ];
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-mini2";
    };
    mini3 = {
      ip = "192.168.1.13";
      roles = [
        "etcd"
        "worker"
        "ingress"
      ];
      apps = [ "web" ];
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-mini3";
    };
  };
}
