{
  machinist.mesh.ingress = {
    acme.email = "ops@mesh.example";
    hosts."www.mesh.example".locations."/".app = "web";
    hosts."notes.mesh.example".locations."/".app = "notes";
  };
}
