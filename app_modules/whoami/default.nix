# An example of an application that is a container: any image that answers HTTP.
{ config, lib, ... }:
let
  app = import ../../modules/apps/app.nix { inherit config lib; };
in
{
  options.machinist.apps.whoami = app.option "whoami" { };

  config.machinist.apps.whoami = {
    group = lib.mkDefault "frontends";
    port = lib.mkDefault 8280;
    check.http = lib.mkDefault "/";
    env.prefix = "WHOAMI";
    env.protocol = "http";
    # Where the program listens inside. Which image it is, the cluster says: container.image.
    container.port = lib.mkDefault 80;
  };
}
