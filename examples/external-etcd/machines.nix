# etcd on three separate machines, two control planes, and two workers, one of which receives
# external traffic.
{
  cluster = {
    name = "external-etcd";
    domain = "external-etcd.internal";
    release = "26.05";
    orchestrator = "kubernetes";
    operators = import ./operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
    pods = "10.42.0.0/16";
    services = "10.96.0.0/16";
    gateway = "10.13.13.1";
    nameservers = [ "10.13.13.1" ];
    overlay.backend = "vxlan";
  };

  # An address in the nodes' own network, held by one control plane at a time.
  kubeMaster = {
    ip = "10.13.13.100";
    mode = "arp";
  };

  machines =
    let
      machine = number: roles: zone: {
        ip = "10.13.13.${toString number}";
        inherit roles;
        interface = "enp2s0";
        disk = "/dev/disk/by-id/nvme-${toString number}";
        labels.zone = zone;
      };
    in
    {
      etcd1 = machine 11 [ "etcd" ] "a";
      etcd2 = machine 12 [ "etcd" ] "b";
      etcd3 = machine 13 [ "etcd" ] "c";
      cp1 = machine 21 [ "control-plane" ] "a";
      cp2 = machine 22 [ "control-plane" ] "b";
      w1 = machine 31 [ "worker" ] "a";
      w2 = machine 32 [ "worker" "ingress" ] "b";
    };
}
