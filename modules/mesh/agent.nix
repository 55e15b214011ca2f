# The node agent: registers this node's instances in etcd and configures haproxy's routing. It runs
# as its own user, which can read no private file but its key, and write only to its two
# directories. Root opens no file in these (./take.nix).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh;
  inherit (config.machinist) node;
  inherit (config.lib.machinist.types) ipAddress urlHost;
  inherit (config.machinist.keys.units.machinist-agent) files;

  configuration = (pkgs.formats.json { }).generate "machinist-agent.json" (
    {
      node = node.name;
      endpoints = map (address: "https://${urlHost address}:2379") cfg.etcdMembers;
      ca = files.authorities.etcd;
      inherit (files.mesh-agent) certificate key;
      inherit (cfg)
        groups
        leaseSeconds
        listen
        maxconn
        ;
      instances = "/etc/machinist/mesh/instances";
      stateDirectory = "/var/lib/machinist-mesh";
      runtimeDirectory = "/run/machinist-agent";
      haproxyDirectory = "/run/machinist-mesh";
      haproxy = lib.getExe cfg.haproxy.package;
    }
    // lib.optionalAttrs (cfg.haproxy.template != null) { template = cfg.haproxy.template; }
    // lib.optionalAttrs (cfg.files != { }) { files = lib.mapAttrs (_: file: file.template) cfg.files; }
  );
in
{
  options.machinist.mesh = {
    package = lib.mkOption {
      type = lib.types.package;
      default = config.lib.machinist.packages.agent;
      defaultText = lib.literalExpression "config.lib.machinist.packages.agent";
      description = "The agent.";
    };

    etcdMembers = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.2" ];
      description = "Addresses of the members of etcd.";
    };

    leaseSeconds = lib.mkOption {
      type = lib.types.ints.between 3 300;
      default = 10;
      description = ''
        Time that this node's instances stay in the mesh after its last sign of life, in seconds. A short time removes
        a dead node soon; a time shorter than an election of etcd would remove living nodes.
      '';
    };

    maxconn = lib.mkOption {
      type = lib.types.ints.between 100 1000000;
      default = 20000;
      description = "Maximum number of simultaneous connections to haproxy.";
    };

    listen = lib.mkOption {
      type = lib.types.strMatching "(127[.][0-9.]+|\\[::1]):[0-9]+";
      default = "127.0.0.1:9470";
      description = "Address of the agent's {file}`/metrics`, {file}`/healthz` and {file}`/status`, on loopback.";
    };
  };

  config = lib.mkIf cfg.enable {
    machinist.keys.units.machinist-agent = {
      leaves = [ "mesh-agent" ];
      authorities = [ "etcd" ];
    };

    users.groups.machinist-mesh = { };
    users.users.machinist-agent = {
      isSystemUser = true;
      group = "machinist-mesh";
    };

    systemd.services.machinist-agent = {
      description = "Agent of the service mesh";
      wantedBy = [ "multi-user.target" ];
      wants = [
        "machinist-haproxy.service"
        "network-online.target"
      ];
      after = [
        "machinist-haproxy.service"
        "network-online.target"
      ];
      # Never empty: a unit that loses its last trigger is not reloaded.
      reloadTriggers = [
        "instances"
      ]
      ++ lib.mapAttrsToList (_: file: file.source) (
        lib.filterAttrs (
          name: _: lib.hasPrefix "machinist/mesh/instances/" name || lib.hasPrefix "machinist/apps/" name
        ) config.environment.etc
      );
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        ExecStart = "${cfg.package}/bin/machinist-agent run --config ${configuration}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        WatchdogSec = "30s";
        Restart = "always";
        RestartSec = "1s";
        User = "machinist-agent";
        Group = "machinist-mesh";
        # haproxy, of the same group, may read the agent's files, but not create any in its place.
        UMask = "0027";
        StateDirectory = "machinist-mesh";
        StateDirectoryMode = "0750";
        RuntimeDirectory = "machinist-agent";
        RuntimeDirectoryMode = "0750";
        # Files that were written and not yet taken are kept over a restart.
        RuntimeDirectoryPreserve = "restart";
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectSystem = "strict";
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectControlGroups = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        LockPersonality = true;
        CapabilityBoundingSet = "";
      };
    };

    # For units that drain their instance before they stop: ExecStop = "machinist-agent drain
    # <instance>".
    environment.systemPackages = [ cfg.package ];

    assertions = [
      {
        assertion = cfg.etcdMembers != [ ];
        message =
          "machinist.mesh.etcdMembers of ${node.name} is empty: the mesh keeps its routing in etcd. Give machines the "
          + "role \"etcd\" in machines.nix and run `machinist generate`.";
      }
    ];
  };
}
