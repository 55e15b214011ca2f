# The shape of machines.nix before it had sections: it loads by value, and missing attributes get
# the values that were hard-coded then. `machinist init --from` writes today's shape.
pkgs: {
  balthazar = {
    ip = "10.13.13.2";
    localIp = "192.168.1.12";
    etcd.enable = true;
    kubernetes.enable = true;
    node = true;
  };
  melchior = {
    ip = "10.13.13.3";
    localIp = "192.168.1.13";
    etcd.enable = true;
    kubernetes.enable = true;
    node = true;
  };
  casper = {
    ip = "10.13.13.4";
    localIp = "192.168.1.14";
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
