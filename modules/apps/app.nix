# The option of one application, in the form that modules used before `machinist.apps` was open:
#
#   options.machinist.apps.web = app.option "web" { greeting = lib.mkOption { … }; };
#
# Today: `options.machinist.apps.web.greeting = lib.mkOption { … };`.
{ config, lib }:
{
  option =
    name: options:
    lib.mkOption {
      type = lib.types.submodule [
        (import ./shape.nix { inherit config lib; })
        { inherit options; }
      ];
      default = { };
      description = "The application ${name}.";
    };
}
