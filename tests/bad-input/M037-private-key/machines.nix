{
  cluster = {
    name = "magi";
    # A private key must not be shown, not even as the source line.
    operators = [ { name = "one"; ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops"; age = "AGE-SECRET-KEY-1NEVER0SHOW0THIS"; } ];
  };
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
}
