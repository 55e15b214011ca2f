# A member of etcd and a machine without it, for tests/cluster/privileges.
{
  cluster = {
    name = "privileges";
    domain = "privileges.internal";
    release = "26.05";
    orchestrator = null;
    operators = import ./operators.nix;
  };

  network.nodes = "10.13.13.0/24";

  machines = {
    ada = {
      ip = "10.13.13.2";
      roles = [ "etcd" ];
      provider = "sandbox";
      interface = "eth0";
    };

    bob = {
      ip = "10.13.13.3";
      provider = "sandbox";
      interface = "eth0";
    };
  };
}
