{
  cluster.name = "Magi Cluster";
  cluster.operators = [ { name = "the ops"; ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops"; } ];
  network.nodes = "10.13.13.0/24";
  kubeMaster = { ip = "10.13.13.10"; name = "kube_api"; };
  machines."CP_1".ip = "10.13.13.2";
  machines.ok.ip = "10.13.13.3";
}
