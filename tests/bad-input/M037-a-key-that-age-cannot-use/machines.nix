{
  cluster.name = "magi";
  cluster.operators = [ { name = "ops"; ssh = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNz6/OLa6Szi+GBSJolYKYKPyUq5pgXCjIZ2HgnTTo2N6muriN7DdUM8/pVDVfHpaUXUM9/TMS7K/rwF0+9BJbM= ops"; } ];
  network.nodes = "10.13.13.0/24";
  machines.a.ip = "10.13.13.2";
}
