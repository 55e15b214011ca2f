# The unit of each slot of an application.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.machinist) enabledApps mesh;
  slots = import ./slots.nix { inherit lib; };

  # Not by its path in the store: a new agent would else be a new definition of every application.
  agent = "/run/current-system/sw/bin/machinist-agent";

  # Out of the mesh first; then the program gets its signal; then its connections may end.
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
      # Connections to a container with its own network are visible only there.
      inside =
        "${agent} drain ${slot.name} --port ${toString app.container.port} --process "
        + "\"$(podman container inspect --format '{{.State.Pid}}' ${slot.unit})\"";
    in
    if app.container == null then
      {
        # As root, also if the program runs as another user.
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

  # Settings of every application's unit, then the application's.
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
          # It may have been taken out to be stopped, and be back before any check has missed it.
          ExecStartPre = [ "+-${agent} start ${slot.name}" ];
          LoadCredential = lib.mkIf (app.secrets != { }) (
            lib.mapAttrsToList (secret: path: "${secret}:${path}") app.secrets
          );
          # Over the 120 s of NixOS' virtualisation.oci-containers, and over what the module of a unit of NixOS says.
          TimeoutStopSec = lib.mkOverride 90 (app.drainSeconds + 30);
        };
      }
      # A unit of another module's is that module's.
      (lib.mkIf (app.unit == null) {
        wantedBy = lib.mkIf (app.strategy == "recreate") [ "multi-user.target" ];
        # With slots, the unit app-<name>-roll deploys a change, and not the switch to the new system.
        restartIfChanged = app.strategy == "recreate";
        # It may have to wait for what it consumes.
        startLimitIntervalSec = 0;
        serviceConfig = {
          # Over the "on-failure" of NixOS' virtualisation.oci-containers.
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
    slots.map enabledApps (_: app: slot: lib.nameValuePair slot.unit (unit app slot))
  );
}
