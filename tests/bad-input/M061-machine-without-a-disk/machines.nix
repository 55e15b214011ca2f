# One machine has a disk, one a module of its own, one is a container, and one is not ours to deploy.
{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    router = { ip = "10.13.13.1"; nixos = false; };
    bare = { ip = "10.13.13.2"; };
    laid-out = { ip = "10.13.13.3"; disk = "/dev/disk/by-id/nvme-1"; };
    installed = { ip = "10.13.13.4"; };
    container = { ip = "10.13.13.5"; provider = "sandbox"; };
  };
}
