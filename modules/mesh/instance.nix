# Options that an instance in the mesh and an application share.
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
          Path that the instance must answer a GET of with a status from 200 to 399. `null`, and no
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
          Program (an absolute path) and arguments that must exit with 0, in the place of a request. The agent's own
          user runs it. It is in the store, which everyone can read: no secrets in it.
        '';
      };
      intervalMs = lib.mkOption {
        type = lib.types.ints.between 100 60000;
        default = 500;
        description = "Milliseconds between two checks.";
      };
      timeoutMs = lib.mkOption {
        type = lib.types.ints.between 50 60000;
        default = 500;
        description = "Milliseconds that an answer may take.";
      };
      fall = lib.mkOption {
        type = lib.types.ints.between 1 100;
        default = 2;
        description = "How many checks in a row must fail until the instance is taken out of the mesh.";
      };
      rise = lib.mkOption {
        type = lib.types.ints.between 1 100;
        default = 1;
        description = "How many checks in a row must succeed until it is put in.";
      };
    };
  };
in
{
  inherit groups;

  options = {
    group = lib.mkOption {
      type = lib.types.enum groups;
      description = "Group of the application. Nodes choose by {option}`machinist.mesh.groups` what they reach.";
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
          Prefix of the variables by which consumers find the application: `<prefix>_HOST`, `_PORT`, `_PROTOCOL` and
          `_PATH`. They are in {file}`<app>.env` of {option}`machinist.mesh.environmentDirectory` on the nodes that have a
          way to it.
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
      description = "When the instance counts as healthy. Only then it is in the mesh.";
    };
    drainSeconds = lib.mkOption {
      type = lib.types.ints.between 0 3600;
      default = 30;
      description = ''
        How long connections to the instance may go on after it was taken out of the mesh on purpose, at most, before
        it may be stopped.
      '';
    };
  };
}
