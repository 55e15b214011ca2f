{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
    orchestrator = "kubernetes";
  };

  network = {
    nodes = "10.13.13.0/24";
    services = "10.13.0.0/16";
    pod = "10.42.0.0/16";
  };

  kubeMaster = {
    ip = "10.13.13.10";
    mode = "bgp";
    as = "64512";
  };

  machines = {
    balthazar = {
      ip = "10.13.13.2";
      roles = [ "etcd" "controlplane" ];
      labels.zone = "rack 4";
    };
    melchior = {
      ip = "10.13.13.2";
      role = [ "etcd" ];
      ssh.port = "22";
    };
    "Casper" = {
      ip = "10.13.14.4";
      provider = "sandbx";
    };
  };
}
