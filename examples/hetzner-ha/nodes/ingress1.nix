{
  machinist.mesh.ingress = {
    acme.email = "ops@example.org";
    hosts."www.example.org".locations."/".app = "web";
  };
}
