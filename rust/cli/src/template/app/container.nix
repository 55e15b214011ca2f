# The application @name@, a container.
{ lib, ... }:
{
  # An option of its own would be `options.machinist.apps.@name@.NAME = lib.mkOption { … };`, and its value
  # `config.machinist.apps.@name@.NAME`.
  config.machinist.apps.@name@ = {
    # Who reaches it: `frontends` (ingress nodes), `backends` (workers) or `services` (workers and service nodes).
    group = lib.mkDefault "frontends";
    # Its port on the node; port @other@ is that of its other slot, in which its successor starts.
    port = lib.mkDefault @port@;
    # It is healthy when a GET of this path is answered with a status from 200 to 399.
    check.http = "/";
    # Others that consume it find it by @prefix@_HOST, @prefix@_PORT, @prefix@_PROTOCOL and @prefix@_PATH.
    env.prefix = "@prefix@";
    env.protocol = "http";

    container = {
      image = "@image@";
      # Where the program listens inside.
      port = 80;
    };
  };
}
