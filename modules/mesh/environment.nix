# Environment files with which consumers find an application. systemd reads them as root, so they
# are in a directory that only root can write to: a unit of root's generates them from the agent's
# output, and lets only variable assignments through.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh;
  laid = "/run/machinist-agent/environment.json";
  take = import ./take.nix { inherit pkgs; };

  # Directory of the files in releases where the agent wrote them directly.
  former = "/run/machinist-mesh/env/";
  environmentFiles = unit: lib.toList (unit.serviceConfig.EnvironmentFile or [ ]);
  outdated = lib.attrNames (
    lib.filterAttrs (
      _: unit: lib.any (lib.hasInfix former) (environmentFiles unit)
    ) config.systemd.services
  );
in
{
  options.machinist.mesh.environmentDirectory = lib.mkOption {
    type = lib.types.path;
    readOnly = true;
    default = "/run/machinist-env";
    description = ''
      Directory of the consumers' environment files, `<app>.env`, for {option}`serviceConfig.EnvironmentFile` of units
      that use an application. A file is written as soon as the application is in the mesh.
    '';
  };

  config = lib.mkIf cfg.enable {
    systemd.tmpfiles.rules = [ "d ${cfg.environmentDirectory} 0755 root root -" ];

    systemd.paths.machinist-mesh-environment = {
      description = "Consumers' variables from the agent of the service mesh";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathExists = laid;
    };

    systemd.services.machinist-mesh-environment = {
      description = "Environment files of the service mesh's consumers";
      # The routing may change often.
      startLimitIntervalSec = 0;
      script = ''
        set -o pipefail
        [ -e ${laid} ] || exit 0
        ${
          take {
            path = laid;
            longest = 9000000;
          }
        } | ${cfg.package}/bin/machinist-agent environment --directory ${cfg.environmentDirectory}
      '';
      serviceConfig = {
        Type = "oneshot";
        # The agent may keep its end of the pipe open.
        TimeoutStartSec = "30s";
        ProtectHome = true;
        ProtectSystem = "strict";
        ReadWritePaths = [
          "-/run/machinist-agent"
          cfg.environmentDirectory
        ];
        PrivateTmp = true;
      };
    };

    assertions = [
      {
        assertion = outdated == [ ];
        message =
          "EnvironmentFile of ${lib.concatStringsSep ", " outdated} on ${config.machinist.node.name} is in ${former}, which the mesh's "
          + "service user could write to: use \${config.machinist.mesh.environmentDirectory}/<app>.env.";
      }
    ];
  };
}
