# Three etcd members at different places, connected by WireGuard: two servers with public addresses, of any two
# providers, and a machine at home behind NAT. etcd listens in the mesh only.
{
  cluster = {
    name = "control-mesh";
    domain = "control-mesh.internal";
    release = "26.05";
    orchestrator = null;
    operators = import ./operators.nix;
  };

  network = {
    # Addresses of the mesh, which no network card has.
    nodes = "10.99.0.0/24";
    control.backend = "wireguard";
  };

  # Replace addresses and disks with those of your machines; `machinist install NAME` erases that disk.
  machines = {
    falkenstein = {
      ip = "10.99.0.1";
      roles = [ "etcd" ];
      endpoint = "203.0.113.10";
      disk = "/dev/sda";
    };

    paris = {
      ip = "10.99.0.2";
      roles = [ "etcd" ];
      endpoint = "198.51.100.20";
      disk = "/dev/vda";
    };

    # No other node connects to it: it connects to them. The operator reaches it in the network at home.
    home = {
      ip = "10.99.0.3";
      roles = [ "etcd" ];
      endpoint = "none";
      ssh.host = "192.168.1.14";
      disk = "/dev/disk/by-id/nvme-home";
    };
  };
}
