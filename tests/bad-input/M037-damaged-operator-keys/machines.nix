{
  cluster = {
    name = "magi";
    operators = [
      { name = "one"; ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvv one"; }
      { name = "two"; age = "age1lqk49lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu"; }
      { name = "three"; ssh = "ssh-dss AAAAB3NzaC1kc3MAAAA= three"; }
    ];
  };
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
}
