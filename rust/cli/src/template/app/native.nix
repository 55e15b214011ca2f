# The application @name@.
{ lib, pkgs, ... }:
{
  # An option of its own would be `options.machinist.apps.@name@.NAME = lib.mkOption { … };`, and its value
  # `config.machinist.apps.@name@.NAME`.
  config.machinist.apps.@name@ = {
    # Who reaches it: `frontends` (ingress nodes), `backends` (workers) or `services` (workers and service nodes).
    group = lib.mkDefault "frontends";
    # Where it listens; port @other@ is that of its other slot, in which its successor starts.
    port = lib.mkDefault @port@;
    # It is healthy when a GET of this path is answered with a status from 200 to 399.
    check.http = "/";
    # Others that consume it find it by @prefix@_HOST, @prefix@_PORT, @prefix@_PROTOCOL and @prefix@_PATH.
    env.prefix = "@prefix@";
    env.protocol = "http";

    # A program that serves the directory below; put your own in its place. It listens on slot.address and slot.port only.
    service =
      { slot, ... }:
      {
        serviceConfig.ExecStart = lib.concatStringsSep " " [
          "${lib.getExe pkgs.python3} -m http.server"
          "--bind ${slot.address}"
          "--directory ${pkgs.writeTextDir "index.html" "@name@\n"}"
          (toString slot.port)
        ];
      };
  };
}
