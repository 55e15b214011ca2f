# A function of the packages, as in the flat shape: lib.machines calls it.
pkgs:
pkgs.lib.genAttrs [ "balthazar" "casper" "melchior" ] (_: {
  kubernetes.enable = false;
  etcd.enable = true;
  node = true;
})
