{
  machinist.mesh.leaseSeconds = 4;
  machinist.mesh.ingress = {
    acme.email = "ops@mesh.example";
    hosts."notes.mesh.example".locations."/".app = "notes";
    hosts."hello.mesh.example".locations."/" = {
      app = "hello";
      port = 9200;
    };
  };
}
