# An example of an application with a database: notes, added and listed with a browser or curl.
{ lib, pkgs, ... }:
let
  python = pkgs.python3.withPackages (packages: [ packages.pymysql ]);
in
{
  config.machinist.apps.notes = {
    group = lib.mkDefault "frontends";
    port = lib.mkDefault 8380;
    publish.port = lib.mkDefault 8300;
    check.http = lib.mkDefault "/ping";
    consumes = [ "mariadb" ];
    # The database may have to be bootstrapped first.
    startSeconds = lib.mkDefault 300;
    env.prefix = "NOTES";
    env.protocol = "http";
    # It finishes the requests in progress.
    drainSignal = "TERM";
    service = {
      serviceConfig.ExecStart = "${python}/bin/python3 -u ${./notes.py}";
    };
  };
}
