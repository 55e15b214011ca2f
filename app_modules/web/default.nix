# An example of an application: a web server that returns its node's name and a configured text.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.apps.web;
in
{
  options.machinist.apps.web = {
    greeting = lib.mkOption {
      type = lib.types.strMatching "[A-Za-z0-9 .,:!-]*";
      default = "hello";
      description = "Text of the response.";
    };
  };

  config.machinist.apps.web = {
    group = lib.mkDefault "frontends";
    port = lib.mkDefault 8080;
    publish.port = lib.mkDefault 8000;
    check.http = "/ping";
    env.prefix = "WEB";
    env.protocol = "http";
    drainSignal = "USR1";
    service =
      { slot, ... }:
      let
        host = if lib.hasInfix ":" slot.address then "[${slot.address}]" else slot.address;
        server = pkgs.writeText "web.cfg" ''
          global
            # After USR1, a kept connection ends with its next response.
            hard-stop-after ${toString cfg.drainSeconds}s
          defaults
            mode http
            option idle-close-on-response
            timeout connect 1s
            timeout client 1m
            timeout server 1s
            timeout http-keep-alive 10s
          frontend web
            bind ${host}:${toString slot.port}
            http-request return status 200 content-type text/plain string pong if { path /ping }
            http-request return status 200 content-type text/plain string "${config.machinist.node.name}: ${cfg.greeting}"
        '';
      in
      {
        serviceConfig.ExecStart = "${lib.getExe pkgs.haproxy} -db -q -f ${server}";
      };
  };
}
