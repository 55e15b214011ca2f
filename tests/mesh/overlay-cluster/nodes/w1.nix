# One instance of the application `web`: a server that returns its node's name and the client's address.
{ config, lib, pkgs, ... }:
let
  inherit (config.machinist) mesh node;
  server = pkgs.writeText "web.cfg" ''
    defaults
      mode http
      timeout connect 1s
      timeout client 1h
      timeout server 1s
      timeout http-keep-alive 1h
    frontend web
      bind ${mesh.address}:8080
      http-request return status 200 content-type text/plain string ${node.name}
  '';
in
{
  machinist.mesh = {
    leaseSeconds = 4;
    instances.web = {
      group = "services";
      port = 8080;
      publish.port = 8000;
      check.http = "/";
      drainSeconds = 2;
    };
  };
  systemd.services.web = {
    after = [ "machinist-overlay.service" ];
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${lib.getExe pkgs.haproxy} -db -q -f ${server}";
  };
}
