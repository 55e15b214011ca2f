# Applications of app_modules/ as units, instances in the mesh, and the unit that brings a changed one in
# (docs/guides/applications.md). The program that does it is the agent's: rust/agent/src/roll.rs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.machinist) mesh node;
  all = config.machinist.apps or { };
  enabled = lib.filterAttrs (_: app: app.enable) all;

  # Not by its path in the store: a new agent would else be a new definition of every application.
  agent = "/run/current-system/sw/bin/machinist-agent";

  # The units of an application: two that take turns, or one.
  slots =
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
  isBridged = app: app.container != null && app.container.network == "bridge";

  instance = name: app: slot: {
    inherit (app)
      group
      address
      weight
      env
      check
      drainSeconds
      ;
    app = name;
    inherit (slot) port;
    publish.port = app.publish.port;
    static = app.strategy != "surge";
  };

  # Out of the mesh; then the program is told to finish; then its connections may end.
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
      # Connections to a container with a network of its own are seen only there.
      inside =
        "${agent} drain ${slot.name} --port ${toString app.container.port} --process "
        + "\"$(podman container inspect --format '{{.State.Pid}}' ${slot.unit})\"";
    in
    if app.container == null then
      {
        # Root does it, whoever runs the program.
        serviceConfig.ExecStop = map (command: "+-${command}") (
          commands "${pkgs.coreutils}/bin/kill -${app.drainSignal} $MAINPID" "${agent} drain ${slot.name}"
        );
      }
    else
      {
        preStop = lib.mkBefore (
          lib.concatMapStrings (command: "${command} || true\n") (
            commands "podman kill --signal ${app.drainSignal} ${slot.unit}" (
              if isBridged app then inside else "${agent} drain ${slot.name}"
            )
          )
        );
      };

  # What holds for the unit of every application, and what the application says of its own.
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
          TimeoutStopSec = lib.mkOverride 90 (app.drainSeconds + 30);
        };
      }
      # A unit of another module's is that module's.
      (lib.mkIf (app.unit == null) {
        wantedBy = lib.mkIf (app.strategy == "recreate") [ "multi-user.target" ];
        # With slots, a change is brought in by the unit below and not by the switch to the new system.
        restartIfChanged = app.strategy == "recreate";
        # It may have to wait for what it consumes.
        startLimitIntervalSec = 0;
        serviceConfig = {
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

  container =
    app: slot:
    let
      bridged = isBridged app;
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
          ++ map (
            secret: "/run/credentials/${slot.unit}.service/${secret}:/run/secrets/${secret}:ro"
          ) (lib.attrNames app.secrets);
      }
      (
        { ... }:
        {
          imports = [ app.container.settings ];
          config._module.args.slot = slot;
        }
      )
    ];

  file = name: "machinist/apps/${name}.json";
  definition = name: app: {
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
        # Whatever changes the unit or what it offers is another definition.
        definition = builtins.hashString "sha256" (
          config.systemd.units."${slot.unit}.service".text + text
        );
      }
      // lib.optionalAttrs (app.strategy == "surge") {
        # What runs is offered as it was started, until it is replaced.
        offer = {
          path = "/run/machinist-apps/${slot.name}.json";
          inherit text;
        };
      }
    ) (slots name app);
  }
  // lib.optionalAttrs (app.canary != null) { inherit (app) canary; };

  # The last run of its command may take 30 s, and then the others must hear of all its weight.
  trialSeconds =
    app:
    if app.canary == null then
      0
    else
      app.canary.seconds + 30 + app.startSeconds + app.settleSeconds;

  roll =
    name: app:
    let
      # A switch asks systemd for one unit after the other. Wanted, the unit has its job when this one's order is looked at; else
      # this might look for it before it is started.
      before = lib.optionals (app.strategy == "recreate") (
        map (slot: "${slot.unit}.service") (slots name app)
      );
    in
    {
      description = "Brings in ${name} as it is defined now";
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
          app.startSeconds
          + app.settleSeconds
          + 3 * (app.drainSeconds + 30)
          + trialSeconds app;
      };
    };

  # A roll that had failed before is no newly failed unit: only this keeps a deploy from passing over it.
  gate = name: _: {
    command = [
      (toString (
        pkgs.writeShellScript "app-${name}" ''
          systemctl is-active --quiet app-${name}-roll.service && exit
          journalctl --quiet --no-pager --output=cat --lines=50 --unit=app-${name}-roll.service |
            grep 'did not come into the mesh' | tail -n 1
          exit 1
        ''
      ))
    ];
    timeout = 2;
  };

  ofAll = of: lib.concatLists (lib.mapAttrsToList (name: app: map (of name app) (slots name app)) enabled);
  taken = lib.groupBy (port: toString port) (ofAll (_: _: slot: slot.port));
in
{
  config = lib.mkIf (enabled != { } || node.apps != [ ]) {
    machinist.mesh.instances = lib.listToAttrs (
      ofAll (name: app: slot: lib.nameValuePair slot.name (instance name app slot))
    );

    machinist.gates = lib.mapAttrs' (name: app: lib.nameValuePair "app-${name}" (gate name app)) enabled;

    environment.etc = lib.mapAttrs' (
      name: app: lib.nameValuePair (file name) { text = builtins.toJSON (definition name app); }
    ) enabled;

    systemd.services = lib.mkMerge [
      (lib.listToAttrs (ofAll (_: app: slot: lib.nameValuePair slot.unit (unit app slot))))
      (lib.mapAttrs' (name: app: lib.nameValuePair "app-${name}-roll" (roll name app)) enabled)
    ];

    virtualisation.oci-containers = lib.mkIf (lib.any (app: app.container != null) (lib.attrValues enabled)) {
      backend = "podman";
      containers = lib.listToAttrs (
        lib.concatLists (
          lib.mapAttrsToList (
            name: app:
            lib.optionals (app.container != null) (
              map (slot: lib.nameValuePair slot.unit (container app slot)) (slots name app)
            )
          ) enabled
        )
      );
    };

    systemd.tmpfiles.rules = [
      "d /run/machinist-apps 0755 root root -"
      "d /var/lib/machinist-apps 0700 root root -"
    ];

    assertions = [
      {
        assertion = mesh.enable;
        message =
          "${node.name} has applications (${toString (lib.attrNames enabled)}), but no part in a service mesh: set "
          + "orchestrator = \"mesh\" in machines.nix, and give the machine the role worker, service or ingress.";
      }
    ]
    ++ map (name: {
      assertion = all ? ${name};
      message =
        "apps of ${node.name} in machines.nix names ${name}, but app_modules/${name}/default.nix does not declare "
        + "options.machinist.apps.${name}.";
    }) node.apps
    ++ lib.mapAttrsToList (port: users: {
      assertion = lib.length users == 1;
      message =
        "two applications of ${node.name} listen on port ${port}: set machinist.apps.<name>.port or alternatePort of "
        + "one of them (slot b has port + 1 if it is not said).";
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
          message = "machinist.apps.${name}.unit is one unit, which cannot have two slots: its strategy is recreate.";
        }
        {
          assertion = app.canary == null || app.strategy == "surge";
          message =
            "machinist.apps.${name}.canary needs the old one beside the new one: its strategy is recreate, which stops it "
            + "first.";
        }
        {
          assertion =
            app.canary == null
            || app.canary.command == [ ]
            || lib.hasPrefix "/" (lib.head app.canary.command);
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
          assertion = !(isBridged app) || app.consumes == [ ];
          message =
            "machinist.apps.${name} consumes ${toString app.consumes}, which is at 127.0.0.1 of the node: set its "
            + "container.network to host.";
        }
      ]) enabled
    );
  };
}
