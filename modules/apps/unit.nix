# The unit of each slot of an application: common settings, and the application's own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.machinist) enabledApps mesh;
  slots = import ./slots.nix { inherit lib; };

  # Not by its path in the store: a new agent would otherwise change the definition of every
  # application.
  agent = "/run/current-system/sw/bin/machinist-agent";

  # Removes the instance from the mesh, then signals the program to finish, then waits for its
  # connections.
  drain =
    app: slot:
    let
      commands =
        signal: wait:
        lib.optionals (app.drainSignal != null) [
          "${agent} drain --no-wait ${slot.name}"
          signal
        ]
        ++ [ wait ];
      # Connections to a container with a separate network are visible only there.
      inside =
        "${agent} drain ${slot.name} --port ${toString app.container.port} --process "
        + "\"$(podman container inspect --format '{{.State.Pid}}' ${slot.unit})\"";
    in
    if app.container == null then
      {
        # Root runs it, independent of the program's user.
        serviceConfig.ExecStop = map (command: "+-${command}") (
          commands "${pkgs.coreutils}/bin/kill -${app.drainSignal} $MAINPID" "${agent} drain ${slot.name}"
        );
      }
    else
      {
        preStop = lib.mkBefore (
          lib.concatMapStrings (command: "${command} || true\n") (
            commands "podman kill --signal ${app.drainSignal} ${slot.unit}" (
              if slots.isBridged app then inside else "${agent} drain ${slot.name}"
            )
          )
        );
      };

  # Settings of every application's unit, merged with the application's own.
  unit =
    app: slot:
    lib.mkMerge [
      (drain app slot)
      {
        after = [
          "machinist-agent.service"
          "machinist-overlay.service"
          "network-online.target"
        ];
        wants = [ "network-online.target" ];
        serviceConfig = {
          # The instance may have been drained for a stop, and be back before any check noticed.
          ExecStartPre = [ "+-${agent} start ${slot.name}" ];
          LoadCredential = lib.mkIf (app.secrets != { }) (
            lib.mapAttrsToList (secret: path: "${secret}:${path}") app.secrets
          );
          # Overrides the 120 s of NixOS' virtualisation.oci-containers, and the value of a NixOS
          # module that defines the unit.
          TimeoutStopSec = lib.mkOverride 90 (app.drainSeconds + 30);
        };
      }
      # A unit that another module defines keeps that module's settings.
      (lib.mkIf (app.unit == null) {
        wantedBy = lib.mkIf (app.strategy == "recreate") [ "multi-user.target" ];
        # With slots, a change is rolled out by the unit of ./roll.nix and not by the switch to the
        # new system.
        restartIfChanged = app.strategy == "recreate";
        # It may have to wait for the applications that it consumes.
        startLimitIntervalSec = 0;
        serviceConfig = {
          # Overrides the "on-failure" of NixOS' virtualisation.oci-containers.
          Restart = lib.mkOverride 90 "always";
          RestartSec = lib.mkDefault "1s";
        };
      })
      (lib.mkIf (app.service != null) {
        description = lib.mkDefault "Application ${slot.name}";
        environment = {
          ADDRESS = lib.mkDefault slot.address;
          PORT = lib.mkDefault (toString slot.port);
        };
        serviceConfig = {
          EnvironmentFile = lib.mkIf (app.consumes != [ ]) (
            map (consumed: "${mesh.environmentDirectory}/${consumed}.env") app.consumes
          );
          DynamicUser = lib.mkDefault true;
        };
      })
      (lib.mkIf (app.service != null) (
        { ... }:
        {
          imports = [ app.service ];
          config._module.args.slot = slot;
        }
      ))
    ];
in
{
  config.systemd.services = lib.listToAttrs (
    slots.map enabledApps (
      _: app: slot:
      lib.nameValuePair slot.unit (unit app slot)
    )
  );
}
