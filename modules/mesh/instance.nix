# Options that mesh instances and applications share.
{ lib }:
let
  groups = [
    "backends"
    "frontends"
    "services"
  ];

  check = lib.types.submodule {
    options = {
      http = lib.mkOption {
        type = lib.types.nullOr (lib.types.strMatching "/[!-~]*");
        default = null;
        example = "/ping";
        description = ''
          Path for a GET request that the instance must answer with a status from 200 to 399. `null`, and no
          {option}`command`: a TCP connection must be accepted.
        '';
      };
      command = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [
          "/run/current-system/sw/bin/pg_isready"
          "-q"
        ];
        description = ''
          Program (an absolute path) and arguments that must exit with 0, instead of a request. The agent's user runs
          it. It is in the store, which is world-readable: no secrets in it.
        '';
      };
      intervalMs = lib.mkOption {
        type = lib.types.ints.between 100 60000;
        default = 500;
        description = "Interval of the checks, in milliseconds.";
      };
      timeoutMs = lib.mkOption {
        type = lib.types.ints.between 50 60000;
        default = 500;
        description = "Timeout of a check, in milliseconds.";
      };
      fall = lib.mkOption {
        type = lib.types.ints.between 1 100;
        default = 2;
        description = "Number of consecutive failed checks after which the instance is removed from the mesh.";
      };
      rise = lib.mkOption {
        type = lib.types.ints.between 1 100;
        default = 1;
        description = "Number of consecutive successful checks after which it is added.";
      };
    };
  };
in
{
  inherit groups;

  options = {
    group = lib.mkOption {
      type = lib.types.enum groups;
      description = ''
        Group of the application. {option}`machinist.mesh.groups` of a node selects the groups that it reaches.
      '';
    };
    weight = lib.mkOption {
      type = lib.types.ints.between 0 256;
      default = 100;
      description = "Share of the new connections, in relation to the other instances. 0: none.";
    };
    env = {
      prefix = lib.mkOption {
        type = lib.types.nullOr (lib.types.strMatching "[A-Z][A-Z0-9_]*");
        default = null;
        example = "DB";
        description = ''
          Prefix of the variables for consumers of the application: `<prefix>_HOST`, `_PORT`, `_PROTOCOL` and `_PATH`.
          They are in {file}`<app>.env` of {option}`machinist.mesh.environmentDirectory` on the nodes that reach it.
        '';
      };
      protocol = lib.mkOption {
        type = lib.types.strMatching "[a-z][a-z0-9+.-]*";
        default = "tcp";
        example = "http";
        description = "Value of `<prefix>_PROTOCOL`.";
      };
      path = lib.mkOption {
        type = lib.types.strMatching "(/[A-Za-z0-9._~/-]*)?";
        default = "";
        example = "/api";
        description = "Value of `<prefix>_PATH`.";
      };
    };
    check = lib.mkOption {
      type = check;
      default = { };
      example = {
        http = "/ping";
      };
      description = "Health check of the instance. It is in the mesh only while it is healthy.";
    };
    drainSeconds = lib.mkOption {
      type = lib.types.ints.between 0 3600;
      default = 30;
      description = ''
        Time that connections have to finish after the instance was drained, at most, in seconds. Then it may be
        stopped.
      '';
    };
  };
}
