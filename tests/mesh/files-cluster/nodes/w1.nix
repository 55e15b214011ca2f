{ config, ... }:
let
  file = "upstreams.conf";
in
{
  imports = [ ./w2.nix ];
  machinist.mesh.files.${file} = {
    template = ./upstreams.conf.tera;
    check = config.machinist.apps.nginx.configCheck;
    reload = [
      "app-nginx-a.service"
      "app-nginx-b.service"
    ];
  };
  machinist.apps.nginx = {
    http = "include ${config.machinist.mesh.files.${file}.path};";
    server = "location / { proxy_pass http://web; }";
    drainSeconds = 2;
  };
}
