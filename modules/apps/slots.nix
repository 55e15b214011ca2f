# The slots of an application: two units that take turns, or one.
{ lib }:
rec {
  of =
    name: app:
    if app.strategy == "surge" then
      [
        {
          name = "${name}-a";
          unit = "app-${name}-a";
          inherit (app) address port;
        }
        {
          name = "${name}-b";
          unit = "app-${name}-b";
          inherit (app) address;
          port = app.alternatePort;
        }
      ]
    else
      [
        {
          inherit name;
          unit = if app.unit == null then "app-${name}" else app.unit;
          inherit (app) address port;
        }
      ];

  # Applies a function of name, application and slot to all slots of these applications; a list.
  map =
    apps: f:
    lib.concatLists (lib.mapAttrsToList (name: app: builtins.map (f name app) (of name app)) apps);

  # True if the application is a container with a separate network.
  isBridged = app: app.container != null && app.container.network == "bridge";
}
