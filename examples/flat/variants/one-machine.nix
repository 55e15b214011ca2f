# One machine with all roles: accepted, with a warning that its disk is the only copy (M015).
pkgs: {
  balthazar = {
    ip = "10.13.13.2";
    localIp = "192.168.1.12";
    etcd.enable = true;
    kubernetes.enable = true;
    node = true;
  };
  router.ip = "10.13.13.1";
  kubeMaster = {
    ip = "10.13.13.10";
    port = 6443;
    name = "kubernetes";
    gateway = "10.13.13.1";
  };
}
