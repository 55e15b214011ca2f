# An example of an application that is a container: any image that answers HTTP.
{ lib, ... }:
{
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
