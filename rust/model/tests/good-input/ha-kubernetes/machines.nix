{
  cluster = {
    name = "magi";
    domain = "magi.internal";
    orchestrator = "kubernetes";
    release = "26.05";
    operators = import ../operators.nix;
  };
  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    overlay = { backend = "wireguard"; network = "10.10.0.0/16"; };
  };
  kubeMaster = { ip = "10.13.13.10"; port = 6443; name = "kubernetes"; mode = "bgp"; gateway = "router"; as = 64512; };
  machines = {
    router    = { ip = "10.13.13.1"; nixos = false; bgp.as = 64513; };
    balthazar = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; interface = "enp2s0"; disk = "/dev/disk/by-id/nvme-1"; labels.zone = "a"; };
    melchior  = { ip = "10.13.13.3"; roles = [ "etcd" "control-plane" "worker" ]; interface = "enp2s0"; disk = "/dev/disk/by-id/nvme-2"; labels.zone = "b"; };
    casper    = { ip = "10.13.13.4"; roles = [ "etcd" "control-plane" "worker" ]; provider = "self-hosted"; ssh = { host = "192.168.1.14"; port = 22; user = "root"; }; labels.zone = "c"; };
  };
}
