# Applications as units and mesh instances, with a unit each that rolls out changes
# (docs/guides/applications.md). They are defined by the modules of app_modules/ and of the cluster
# itself.
{ config, lib, ... }:
let
  inherit (config.machinist) node;
  slots = import ./slots.nix { inherit lib; };

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
in
{
  imports = [
    ./assertions.nix
    ./container.nix
    ./roll.nix
    ./unit.nix
  ];

  options.machinist = {
    # An open submodule: `options.machinist.apps.<name>.<own>` of an application's module adds an
    # option to that application alone.
    apps = lib.mkOption {
      type = lib.types.submodule {
        freeformType = lib.types.attrsOf (lib.types.submodule (import ./shape.nix { inherit config lib; }));
      };
      default = { };
      example.web = {
        group = "frontends";
        port = 8080;
        container.image = "registry.example/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
      };
      description = ''
        Applications, by name. Each runs on the nodes whose machine in machines.nix lists it in `apps`. A module may
        add options to an application: `options.machinist.apps.<name>.<option>`.
      '';
    };

    enabledApps = lib.mkOption {
      type = lib.types.attrsOf lib.types.raw;
      internal = true;
      readOnly = true;
      default = lib.filterAttrs (_: app: app.enable) config.machinist.apps;
      defaultText = lib.literalMD "those of {option}`machinist.apps` that this node runs";
      description = "Applications that this node runs.";
    };
  };

  config = lib.mkIf (config.machinist.enabledApps != { } || node.apps != [ ]) {
    machinist.mesh.instances = lib.listToAttrs (
      slots.map config.machinist.enabledApps (
        name: app: slot:
        lib.nameValuePair slot.name (instance name app slot)
      )
    );

    systemd.tmpfiles.rules = [
      "d /run/machinist-apps 0755 root root -"
      "d /var/lib/machinist-apps 0700 root root -"
    ];
  };
}
