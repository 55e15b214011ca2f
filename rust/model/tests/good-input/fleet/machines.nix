{
  cluster = { name = "fleet"; operators = import ../operators.nix; };
  network.nodes = "192.168.1.0/24";
  machines = {
    web = { ip = "192.168.1.2"; apps = [ "nginx" ]; system = "aarch64-linux"; };
    old = { ip = "192.168.1.3"; enable = false; roles = [ "etcd" ]; };
    far = { ip = "10.0.0.1"; nixos = false; };
  };
}
