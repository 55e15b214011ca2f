# An etcd member, and two workers that are QEMU guests, whose own kernel has WireGuard and VXLAN.
{
  cluster = {
    name = "guests";
    domain = "guests.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network = {
    nodes = "10.13.13.0/24";
    overlay = { backend = "wireguard"; network = "10.10.0.0/16"; };
  };
  machines = {
    etcd1 = { ip = "10.13.13.2"; roles = [ "etcd" ]; interface = "eth0"; disk = "/dev/vda"; };
    w1 = { ip = "10.13.13.5"; roles = [ "worker" ]; interface = "eth0"; disk = "/dev/vda"; };
    w2 = { ip = "10.13.13.6"; roles = [ "worker" ]; interface = "eth0"; disk = "/dev/vda"; };
  };
}
