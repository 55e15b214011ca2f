{
  machinist.mesh.ingress = {
    acme.email = "ops@mesh.example";
    hosts = {
      "www.mesh.example" = {
        aliases = [ "mesh.example" ];
        locations = {
          "/" = {
            app = "web";
            port = 8000;
          };
          "/live" = {
            app = "live";
            port = 8001;
          };
        };
      };
      "plain.mesh.example" = {
        https = false;
        locations."/" = {
          app = "web";
          port = 8000;
        };
      };
    };
  };
}
