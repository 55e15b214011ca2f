# The whole cluster. `machinist check` says what is wrong with it, and `machinist explain CODE` why.
{
  cluster = {
    name = "@name@";
    release = "26.05";
    operators = import ./operators.nix;
  };

  # The network of the machines' own addresses. Change it and the addresses below to yours.
  network.nodes = "10.0.0.0/24";

  # Three members keep etcd running while one is away.
  machines = {
    node1 = {
      ip = "10.0.0.11";
      roles = [ "etcd" ];
      # The disk that `machinist install node1` erases, by its stable path.
      # disk = "/dev/disk/by-id/nvme-...";
    };
    node2 = {
      ip = "10.0.0.12";
      roles = [ "etcd" ];
    };
    node3 = {
      ip = "10.0.0.13";
      roles = [ "etcd" ];
    };
  };
}
