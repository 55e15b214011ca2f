{
  cluster = {
    name = "magi";
    operators = [
      { name = "one"; ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops"; }
      { name = "two"; }
    ];
  };
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
}
