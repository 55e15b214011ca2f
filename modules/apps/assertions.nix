# Requirements on applications, reported before anything is built.
{ config, lib, ... }:
let
  inherit (config.machinist) enabledApps mesh node;
  slots = import ./slots.nix { inherit lib; };
  taken = lib.groupBy toString (
    slots.map enabledApps (
      _: _: slot:
      slot.port
    )
  );
in
{
  config = lib.mkIf (enabledApps != { } || node.apps != [ ]) {
    assertions = [
      {
        assertion = mesh.enable;
        message =
          "${node.name} has applications (${toString (lib.attrNames enabledApps)}), but is not in a service mesh: set "
          + "orchestrator = \"mesh\" in machines.nix, and give the machine the role worker, service or ingress.";
      }
    ]
    ++ map (name: {
      assertion = config.machinist.apps ? ${name};
      message =
        "apps of ${node.name} in machines.nix names ${name}, but no module defines "
        + "machinist.apps.${name}: define it in app_modules/${name}/default.nix.";
    }) node.apps
    ++ lib.mapAttrsToList (port: users: {
      assertion = lib.length users == 1;
      message =
        "two applications of ${node.name} listen on port ${port}: set machinist.apps.<name>.port or alternatePort of "
        + "one of them (the default for slot b is port + 1).";
    }) taken
    ++ lib.concatLists (
      lib.mapAttrsToList (name: app: [
        {
          assertion =
            lib.count (kind: kind != null) [
              app.service
              app.container
              app.unit
            ] == 1;
          message = "machinist.apps.${name} must have exactly one of service, container and unit.";
        }
        {
          assertion = app.unit == null || app.strategy == "recreate";
          message = "machinist.apps.${name}.unit is one unit, which cannot have two slots: set its strategy to recreate.";
        }
        {
          assertion = app.canary == null || app.strategy == "surge";
          message =
            "machinist.apps.${name}.canary needs the old one beside the new one: its strategy is recreate, which stops it "
            + "first.";
        }
        {
          assertion =
            app.canary == null || app.canary.command == [ ] || lib.hasPrefix "/" (lib.head app.canary.command);
          message =
            "machinist.apps.${name}.canary.command does not begin with an absolute path: nothing else is looked for the "
            + "program.";
        }
        {
          assertion =
            app.container == null
            || app.container.imageFile != null
            || builtins.match ".+@sha256:[0-9a-f]{64}" app.container.image != null;
          message =
            "machinist.apps.${name}.container.image is ${app.container.image}, which names no digest: end it with "
            + "@sha256:… (`podman inspect --format '{{.Digest}}'` prints it).";
        }
        {
          assertion = !(slots.isBridged app) || app.consumes == [ ];
          message =
            "machinist.apps.${name} consumes ${toString app.consumes}, which is at 127.0.0.1 of the node: set its "
            + "container.network to host.";
        }
      ]) enabledApps
    );
  };
}
