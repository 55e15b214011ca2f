# Servers of Hetzner Cloud, created by `machinist provision`: three etcd members in three locations,
# two workers with an application, and two ingress nodes. Packets between nodes are encrypted.
{
  cluster = {
    name = "hetzner-ha";
    domain = "hetzner-ha.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };

  network = {
    # The private network; its first address is Hetzner's gateway.
    nodes = "10.0.0.0/24";
    overlay = {
      backend = "wireguard";
      network = "10.10.0.0/16";
    };
  };

  machines = {
    etcd1 = {
      ip = "10.0.0.2";
      roles = [ "etcd" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "nbg1";
      };
    };
    etcd2 = {
      ip = "10.0.0.3";
      roles = [ "etcd" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "fsn1";
      };
    };
    etcd3 = {
      ip = "10.0.0.4";
      roles = [ "etcd" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "hel1";
      };
    };

    worker1 = {
      ip = "10.0.0.5";
      roles = [ "worker" ];
      apps = [ "web" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "nbg1";
      };
    };
    worker2 = {
      ip = "10.0.0.6";
      roles = [ "worker" ];
      apps = [ "web" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "fsn1";
      };
    };

    ingress1 = {
      ip = "10.0.0.7";
      roles = [ "ingress" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "nbg1";
      };
    };
    ingress2 = {
      ip = "10.0.0.8";
      roles = [ "ingress" ];
      provider = "hetzner";
      disk = "/dev/sda";
      hetzner = {
        serverType = "cx23";
        location = "fsn1";
      };
    };
  };
}
