# Two applications for ingress nodes: one that returns the client's data in its request, and one that a test of
# websockets installs.
{ config, lib, pkgs, ... }:
let
  inherit (config.machinist) network;
  server = pkgs.writeText "web.cfg" ''
    defaults
      mode http
      timeout connect 1s
      timeout client 1h
      timeout server 1s
      timeout http-keep-alive 1h
    frontend web
      bind ${network.address}:8080
      http-request return status 200 content-type text/plain lf-string "%[req.hdrs]" if { path /headers }
      http-request return status 200 content-type text/plain lf-string "for %[req.hdr(x-forwarded-for)] by %[req.hdr(x-forwarded-proto)] to %[req.hdr(x-forwarded-host)]%[path]"
  '';
in
{
  machinist.mesh.instances = {
    web = {
      group = "frontends";
      port = 8080;
      publish.port = 8000;
    };
    live = {
      group = "frontends";
      port = 8090;
      publish.port = 8001;
    };
  };
  systemd.services.web = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${lib.getExe pkgs.haproxy} -db -q -f ${server}";
  };
}
