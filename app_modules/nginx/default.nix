# nginx: serves files or forwards requests, as configured in `server`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.apps.nginx;
  slotOf = unit: {
    inherit unit;
    inherit (cfg) address port;
  };

  confOf =
    slot:
    let
      host = if lib.hasInfix ":" slot.address then "[${slot.address}]" else slot.address;
    in
    pkgs.writeText "nginx.conf" ''
      daemon off;
      pid /run/${slot.unit}/nginx.pid;
      error_log stderr;
      worker_processes auto;
      worker_shutdown_timeout ${toString cfg.drainSeconds}s;
      events { worker_connections 4096; }
      http {
        include ${cfg.package}/conf/mime.types;
        access_log off;
        server_tokens off;
        # Temporary files, which are removed with its runtime directory.
        client_body_temp_path /run/${slot.unit}/body;
        proxy_temp_path /run/${slot.unit}/proxy;
        fastcgi_temp_path /run/${slot.unit}/fastcgi;
        uwsgi_temp_path /run/${slot.unit}/uwsgi;
        scgi_temp_path /run/${slot.unit}/scgi;
        ${cfg.http}
        server {
          listen ${host}:${toString slot.port};
          location = /nginx-health { return 200 "ok\n"; }
          ${lib.optionalString (cfg.root != null) "root ${cfg.root};"}
          ${cfg.server}
        }
      }
    '';
in
{
  options.machinist.apps.nginx = {
    package = lib.mkPackageOption pkgs "nginx" { };
    root = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = lib.literalExpression "./site";
      description = "Directory of files that are served.";
    };
    http = lib.mkOption {
      type = lib.types.lines;
      default = "";
      example = "upstream api { server 10.0.0.5:8080; }";
      description = "Directives of its `http`, before its `server`.";
    };
    configCheck = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      internal = true;
      description = "Program that looks at its configuration and what that includes: {option}`machinist.mesh.files.<name>.check`.";
    };
    server = lib.mkOption {
      type = lib.types.lines;
      default = "";
      example = "location /api/ { proxy_pass http://127.0.0.1:8000/; }";
      description = "Directives of its `server`.";
    };
  };

  config.machinist.apps.nginx = {
    group = lib.mkDefault "frontends";
    port = lib.mkDefault 8180;
    check.http = lib.mkDefault "/nginx-health";
    env.prefix = "NGINX";
    env.protocol = "http";
    # It exits when all connections have ended, each after its next response.
    drainSignal = "QUIT";

    configCheck = [
      "${pkgs.writeShellScript "nginx-check" ''
        directory=$(mktemp --directory) || exit 1
        sed "s|/run/app-nginx-a|$directory|" ${confOf (slotOf "app-nginx-a")} >"$directory/nginx.conf"
        ${cfg.package}/bin/nginx -q -t -e stderr -c "$directory/nginx.conf"
        status=$?
        rm --recursive "$directory"
        exit $status
      ''}"
    ];

    service =
      { slot, ... }:
      {
        serviceConfig = {
          ExecStart = "${cfg.package}/bin/nginx -e stderr -c ${confOf slot}";
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          RuntimeDirectory = slot.unit;
        };
      };
  };
}
