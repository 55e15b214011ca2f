# An etcd member and two workers with a web application; on the first an nginx that balances itself.
{
  cluster = {
    name = "files";
    domain = "files.internal";
    release = "26.05";
    orchestrator = "mesh";
    operators = import ./operators.nix;
  };
  network.nodes = "10.13.28.0/24";
  machines = {
    etcd1 = { ip = "10.13.28.2"; roles = [ "etcd" ]; provider = "sandbox"; interface = "eth0"; };
    w1 = { ip = "10.13.28.5"; roles = [ "worker" ]; apps = [ "nginx" "web" ]; provider = "sandbox"; interface = "eth0"; };
    w2 = { ip = "10.13.28.6"; roles = [ "worker" ]; apps = [ "web" ]; provider = "sandbox"; interface = "eth0"; };
  };
}
