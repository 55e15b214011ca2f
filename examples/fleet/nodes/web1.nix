# Configuration of web1 beyond the modules of machinist: an ordinary NixOS module. web2 imports it.
{ pkgs, ... }:
let
  site = pkgs.writeTextDir "index.html" "hello\n";
in
{
  systemd.services.site = {
    description = "Web server";
    wantedBy = [ "multi-user.target" ];
    serviceConfig = {
      ExecStart = "${pkgs.python3}/bin/python3 -m http.server --directory ${site} 8080";
      DynamicUser = true;
    };
  };
  networking.firewall.allowedTCPPorts = [ 8080 ];

  # A deploy is confirmed only if the site responds, and reverted otherwise.
  machinist.gates.site.http = "http://127.0.0.1:8080/";
}
