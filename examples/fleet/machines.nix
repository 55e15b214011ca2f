# A fleet: machines that form no cluster. machinist installs and deploys them in waves, and nodes/
# defines what they run.
{
  cluster = {
    name = "fleet";
    domain = "fleet.internal";
    release = "26.05";
    orchestrator = null;
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
  };

  # Replace addresses, interfaces and disks with those of your machines; `machinist install NAME`
  # erases that disk.
  machines = {
    web1 = {
      ip = "10.13.13.2";
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-web1";
      labels.tier = "web";
    };

    web2 = {
      ip = "10.13.13.3";
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-web2";
      labels.tier = "web";
    };

    builder = {
      ip = "10.13.13.4";
      interface = "enp1s0";
      disk = "/dev/disk/by-id/nvme-builder";
      labels.tier = "build";
    };
  };
}
