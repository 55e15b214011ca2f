# Three servers of k3s, the second of which founds the cluster, and an agent that takes traffic; the API's address is found by ARP.
{
  cluster = {
    name = "magi";
    orchestrator = "k3s";
    operators = [ ];
  };
  network.nodes = "10.13.13.0/24";
  kubeMaster = {
    ip = "10.13.13.10";
    mode = "arp";
  };
  machines = {
    s1 = {
      ip = "10.13.13.2";
      interface = "enp2s0";
      roles = [ "control-plane" ];
      disk = "/dev/disk/by-id/nvme-s1";
    };
    s2 = {
      ip = "10.13.13.3";
      roles = [ "control-plane" "worker" ];
      disk = "/dev/disk/by-id/nvme-s2";
      clusterInit = true;
      labels.zone = "b";
    };
    s3 = {
      ip = "10.13.13.4";
      roles = [ "control-plane" "worker" ];
      disk = "/dev/disk/by-id/nvme-s3";
    };
    a1 = {
      ip = "10.13.13.5";
      roles = [ "ingress" "worker" ];
      disk = "/dev/disk/by-id/nvme-a1";
      taints = [ "dedicated=edge:NoExecute" ];
    };
  };
}
