# A single machine of a fleet: a QEMU guest, at the address that QEMU's own network gives it.
{
  cluster = {
    name = "boot";
    orchestrator = null;
    operators = import ./operators.nix;
  };
  network.nodes = "10.0.2.0/24";
  machines.vm = {
    ip = "10.0.2.15";
    roles = [ "worker" ];
    provider = "self-hosted";
    interface = "eth0";
    ssh = {
      host = "127.0.0.1";
      port = 2222;
    };
  };
}
