# A person's own module: plain definitions win over the defaults of modules/, lists grow.
{
  machinist.etcd.clients = [ "10.13.13.50" ];
  nix.gc.dates = "daily";
  services.openssh.ports = [
    22
    2022
  ];
}
