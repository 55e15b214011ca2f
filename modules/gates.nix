# Checks that a new system must pass on this node before it is confirmed. The scripts are part of
# the system's closure, so a system is checked by its own gates after a rollback, and the node needs
# no program of machinist.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.gates;

  http = gate: ''
    status=$(${pkgs.curl}/bin/curl --silent --show-error --noproxy '*' --max-time 10 --output /dev/null \
      --write-out '%{http_code}' ${lib.escapeShellArg gate.http}) || exit
    if [ "$status" != ${toString gate.status} ]; then
      echo ${lib.escapeShellArg "${gate.http} returned"} "$status, not ${toString gate.status}"
      exit 1
    fi
  '';
  command = gate: ''
    exec ${lib.escapeShellArgs gate.command}
  '';
  script =
    name: gate:
    pkgs.writeShellScript "gate-${name}" ((if gate.http == null then command else http) gate);
in
{
  options.machinist.gates = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options = {
          command = lib.mkOption {
            type = lib.types.listOf lib.types.str;
            default = [ ];
            example = [
              "pg_isready"
              "-q"
            ];
            description = ''
              Program and arguments that must exit with 0. Root runs it. It is in the store, which is world-readable:
              no secrets in it.
            '';
          };
          http = lib.mkOption {
            type = lib.types.nullOr (lib.types.strMatching "https?://.+");
            default = null;
            example = "http://127.0.0.1:8080/health";
            description = "URL that the node itself requests, instead of a command.";
          };
          status = lib.mkOption {
            type = lib.types.ints.between 100 599;
            default = 200;
            description = "Expected HTTP status of the response.";
          };
          timeout = lib.mkOption {
            type = lib.types.ints.between 1 600;
            default = 30;
            description = "Time until the gate must pass, in seconds. It is retried each second until then.";
          };
        };
      }
    );
    default = { };
    example = {
      web.http = "http://127.0.0.1:8080/health";
    };
    description = ''
      Conditions that a new system must fulfil on this node before it is confirmed: otherwise the node is reverted to
      its previous system. Modules add theirs to those of machines.nix.
    '';
  };

  config = lib.mkIf (cfg != { }) {
    # One line per gate: name, timeout in seconds, script.
    environment.etc."machinist/gates".text = lib.concatStrings (
      lib.mapAttrsToList (name: gate: "${name} ${toString gate.timeout} ${script name gate}\n") cfg
    );

    assertions = lib.mapAttrsToList (name: gate: {
      assertion = (gate.http != null) != (gate.command != [ ]);
      message =
        "machinist.gates.${name} on ${config.machinist.node.name} has "
        + (if gate.http == null then "neither a command nor a URL" else "both a command and a URL")
        + ": give it one of the two.";
    }) cfg;
  };
}
