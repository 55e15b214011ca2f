pkgs: {
  balthazar = {
    ip = "10.13.13.2";
    localIp = "192.168.1.12";
    interface = "enp2s0";
    longhornInterface = "enp3s0";
    longhornIP = "10.15.15.2";
    disk = "/dev/disk/by-id/nvme-1";
    etcd.enable = true;
    kubernetes.enable = true;
    node = true;
    master = true;
    zfs = false;
    nvidia = true;
    localip = "192.168.1.12";
  };
  router = { ip = "10.13.13.1"; };
  kubeMaster = { ip = "10.13.13.10"; gateway = "10.13.13.254"; haproxyIp = "10.13.13.11"; };
}
