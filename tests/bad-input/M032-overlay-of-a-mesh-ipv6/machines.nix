{
  cluster = {
    name = "magi";
    orchestrator = "mesh";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.0.0.0/24";
    overlay = { backend = "wireguard"; network = "fd10::/48"; };
  };

  machines = {
    etcd1 = { ip = "10.0.0.2"; roles = [ "etcd" ]; };
    etcd2 = { ip = "10.0.0.3"; roles = [ "etcd" ]; };
    etcd3 = { ip = "10.0.0.4"; roles = [ "etcd" ]; };
    w1 = { ip = "10.0.0.5"; roles = [ "worker" ]; };
  };
}
