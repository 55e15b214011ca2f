# The unit that rolls out an application's current definition, and the gate that fails a deploy if
# that failed. The program is the agent's: rust/agent/src/roll.rs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.machinist) enabledApps mesh node;
  slots = import ./slots.nix { inherit lib; };

  file = name: "machinist/apps/${name}.json";
  definition =
    name: app:
    {
      app = name;
      inherit (app) startSeconds settleSeconds;
      state = "/var/lib/machinist-apps/${name}.json";
      socket = "/run/machinist-agent/agent.sock";
      slots = map (
        slot:
        let
          text = builtins.toJSON (
            removeAttrs mesh.instances.${slot.name} [ "static" ] // { inherit (slot) name; }
          );
        in
        {
          instance = slot.name;
          unit = "${slot.unit}.service";
          # Any change of the unit, or of its instance in the mesh, changes the definition.
          definition = builtins.hashString "sha256" (config.systemd.units."${slot.unit}.service".text + text);
        }
        // lib.optionalAttrs (app.strategy == "surge") {
          # A running instance is offered as it was started, until it is replaced.
          offer = {
            path = "/run/machinist-apps/${slot.name}.json";
            inherit text;
          };
        }
      ) (slots.of name app);
    }
    // lib.optionalAttrs (app.canary != null) { inherit (app) canary; };

  # The last run of the canary's command may take 30 s, and then the other nodes must learn its full
  # weight.
  trialSeconds =
    app:
    if app.canary == null then 0 else app.canary.seconds + 30 + app.startSeconds + app.settleSeconds;

  roll =
    name: app:
    let
      # A switch requests one unit after the other from systemd. Because of `wants`, the unit's job
      # exists when the ordering of this one is evaluated; otherwise this one might check it before
      # it is started.
      before = lib.optionals (app.strategy == "recreate") (
        map (slot: "${slot.unit}.service") (slots.of name app)
      );
    in
    {
      description = "Rollout of the application ${name}";
      wantedBy = [ "multi-user.target" ];
      wants = [
        "machinist-agent.service"
        "network-online.target"
      ]
      ++ before;
      after = [
        "machinist-agent.service"
        "network-online.target"
      ]
      ++ before;
      restartTriggers = [ config.environment.etc.${file name}.source ];
      path = [ config.systemd.package ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${mesh.package}/bin/machinist-agent roll --definition /etc/${file name}";
        TimeoutStartSec =
          app.startSeconds + app.settleSeconds + 3 * (app.drainSeconds + 30) + trialSeconds app;
      };
    };

  # A rollout that had failed before is not a newly failed unit: without this gate a deploy would
  # ignore it.
  gate = name: _: {
    command = [
      (toString (
        pkgs.writeShellScript "app-${name}" ''
          systemctl is-active --quiet app-${name}-roll.service && exit
          journalctl --quiet --no-pager --output=cat --lines=50 --unit=app-${name}-roll.service |
            grep 'did not become healthy' | tail -n 1
          exit 1
        ''
      ))
    ];
    timeout = 2;
  };
in
{
  config = lib.mkIf (enabledApps != { } || node.apps != [ ]) {
    machinist.gates = lib.mapAttrs' (
      name: app: lib.nameValuePair "app-${name}" (gate name app)
    ) enabledApps;

    environment.etc = lib.mapAttrs' (
      name: app: lib.nameValuePair (file name) { text = builtins.toJSON (definition name app); }
    ) enabledApps;

    systemd.services = lib.mapAttrs' (
      name: app: lib.nameValuePair "app-${name}-roll" (roll name app)
    ) enabledApps;
  };
}
