{
  cluster = {
    name = "magi";
    operators = [
      { name = "ops"; ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops"; }
      { name = "ops"; age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu"; }
    ];
  };
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
}
