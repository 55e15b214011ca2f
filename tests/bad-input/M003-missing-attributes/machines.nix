{
  cluster.operators = [ { ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops"; } ];
  network.overlay.network = "10.10.0.0/16";
  kubeMaster.mode = "arp";
  machines.a = { roles = [ "worker" ]; };
}
