# An application for the ingress nodes.
{ config, lib, pkgs, ... }:
let
  server = pkgs.writeText "web.cfg" ''
    defaults
      mode http
      timeout connect 1s
      timeout client 1h
      timeout server 1s
      timeout http-keep-alive 1h
    frontend web
      bind ${config.machinist.network.address}:8080
      http-request return status 200 content-type text/plain string "web"
  '';
in
{
  machinist.mesh.instances.web = {
    group = "frontends";
    port = 8080;
    publish.port = 8000;
  };
  systemd.services.web = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${lib.getExe pkgs.haproxy} -db -q -f ${server}";
  };
}
