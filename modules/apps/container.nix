# Applications in containers, run by podman.
{ config, lib, ... }:
let
  inherit (config.machinist) enabledApps mesh;
  slots = import ./slots.nix { inherit lib; };
  contained = lib.filterAttrs (_: app: app.container != null) enabledApps;

  container =
    app: slot:
    let
      bridged = slots.isBridged app;
      host = if lib.hasInfix ":" slot.address then "[${slot.address}]" else slot.address;
    in
    lib.mkMerge [
      {
        inherit (app.container)
          image
          imageFile
          cmd
          ;
        serviceName = slot.unit;
        autoStart = false;
        networks = lib.mkIf (!bridged) [ "host" ];
        ports = lib.mkIf bridged [ "${host}:${toString slot.port}:${toString app.container.port}" ];
        environment = {
          ADDRESS = if bridged then "0.0.0.0" else slot.address;
          PORT = toString (if bridged then app.container.port else slot.port);
        }
        // app.container.environment;
        environmentFiles = map (consumed: "${mesh.environmentDirectory}/${consumed}.env") app.consumes;
        volumes =
          app.container.volumes
          ++ map (secret: "/run/credentials/${slot.unit}.service/${secret}:/run/secrets/${secret}:ro") (
            lib.attrNames app.secrets
          );
      }
      (
        { ... }:
        {
          imports = [ app.container.settings ];
          config._module.args.slot = slot;
        }
      )
    ];
in
{
  config.virtualisation.oci-containers = lib.mkIf (contained != { }) {
    backend = "podman";
    containers = lib.listToAttrs (
      slots.map contained (
        _: app: slot:
        lib.nameValuePair slot.unit (container app slot)
      )
    );
  };
}
