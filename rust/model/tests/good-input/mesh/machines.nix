{
  cluster = { name = "mesh"; orchestrator = "mesh"; operators = import ../operators.nix; };
  network = {
    nodes = "10.13.13.0/24";
    overlay = { backend = "wireguard"; network = "10.10.0.0/16"; };
  };
  machines = {
    etcd1 = { ip = "10.13.13.2"; roles = [ "etcd" ]; };
    etcd2 = { ip = "10.13.13.3"; roles = [ "etcd" ]; };
    etcd3 = { ip = "10.13.13.4"; roles = [ "etcd" ]; };
    service1 = { ip = "10.13.13.5"; roles = [ "service" ]; apps = [ "postgresql" "postgresql" ]; };
    worker1 = { ip = "10.13.13.6"; roles = [ "worker" ]; taints = [ "dedicated=web:NoSchedule" "gpu:NoExecute" ]; };
    ingress1 = { ip = "10.13.13.7"; roles = [ "ingress" ]; apps = [ "nginx" ]; };
    registry1 = { ip = "10.13.13.8"; roles = [ "registry" "cache" ]; };
  };
}
