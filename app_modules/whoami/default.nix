# An example of an application in a container: any image that serves HTTP.
{ lib, ... }:
{
  config.machinist.apps.whoami = {
    group = lib.mkDefault "frontends";
    port = lib.mkDefault 8280;
    check.http = lib.mkDefault "/";
    env.prefix = "WHOAMI";
    env.protocol = "http";
    # Port of the program in the container. The cluster sets the image: container.image.
    container.port = lib.mkDefault 80;
  };
}
