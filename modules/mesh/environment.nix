# Environment files by which consumers find an application. systemd reads them as root, so they lie in a directory of root's: a unit of
# root makes them of what the agent laid out, after a check that leaves nothing but the variables.
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

  # Where the files were when the agent wrote them itself.
  former = "/run/machinist-mesh/env/";
  environmentFiles = unit: lib.toList (unit.serviceConfig.EnvironmentFile or [ ]);
  outdated = lib.attrNames (
    lib.filterAttrs (_: unit: lib.any (lib.hasInfix former) (environmentFiles unit)) config.systemd.services
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
        # The agent's side of the pipe may stay open.
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
          + "service user could write to: take \${config.machinist.mesh.environmentDirectory}/<app>.env.";
      }
    ];
  };
}
