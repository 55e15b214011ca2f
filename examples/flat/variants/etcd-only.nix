# Three etcd members and nothing else: accepted.
pkgs: {
  balthazar = {
    ip = "10.13.13.2";
    localIp = "192.168.1.12";
    etcd.enable = true;
    node = true;
  };
  melchior = {
    ip = "10.13.13.3";
    localIp = "192.168.1.13";
    etcd.enable = true;
    node = true;
  };
  casper = {
    ip = "10.13.13.4";
    localIp = "192.168.1.14";
    etcd.enable = true;
    node = true;
  };
  router.ip = "10.13.13.1";
}
