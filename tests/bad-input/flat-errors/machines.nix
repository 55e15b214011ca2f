pkgs: {
  balthazar = { ip = "10.13.13.300"; etcd.enable = "true"; node = true; };
  melchior = { ip = "10.13.14.3"; localIp = "root@192.168.1.13"; etcd = true; node = 1; };
  casper = { ip = "10.13.13.4"; localIp = 5; etcd.enable = true; node = true; };
  Leliel = { ip = "10.13.13.4"; etcd.enable = true; node = true; };
  router = { ip = "10.13.13.1"; };
  kubeMaster = { ip = "10.13.13.10"; port = 6443; name = "kubernetes"; gateway = "10.13.13.1"; };
}
