# The service mesh: what this node offers to the others, and to which groups of applications it has a way. The node agent
# registers the instances in etcd while they are healthy, and gives haproxy its routing.
{ config, lib, ... }:
let
  cfg = config.machinist.mesh;
  inherit (config.machinist) node network;
  inherit (import ../types.nix { inherit lib; }) ipAddress;

  groups = [
    "backends"
    "frontends"
    "services"
  ];
  label = lib.types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

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

  instance =
    { name, config, ... }:
    {
      options = {
        group = lib.mkOption {
          type = lib.types.enum groups;
          description = "Group of the application. Nodes choose by {option}`machinist.mesh.groups` what they reach.";
        };
        app = lib.mkOption {
          type = label;
          default = name;
          description = ''
            Application that this is an instance of. The name must be in one group only. Several instances of it may run
            on one node, each with a name and a port of its own: so a new one starts beside the old one.
          '';
        };
        address = lib.mkOption {
          type = ipAddress;
          default = network.address;
          defaultText = lib.literalExpression "config.machinist.network.address";
          description = ''
            Address that the other nodes reach the instance at. Let it listen on this address and not on all: the port
            on 127.0.0.1 is haproxy's.
          '';
        };
        port = lib.mkOption {
          type = lib.types.port;
          example = 8080;
          description = "TCP port that the instance listens on.";
        };
        publish.port = lib.mkOption {
          type = lib.types.port;
          default = config.port;
          defaultText = lib.literalExpression "port";
          description = "TCP port on 127.0.0.1 of the nodes that have a way to the group. The same for all instances.";
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
              `_PATH`. The agent keeps them in {file}`/run/machinist-mesh/env/<app>.env` on the nodes that have a way to
              it.
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
    };

  file =
    name: instance:
    lib.nameValuePair "machinist/mesh/instances/${name}.json" {
      text = builtins.toJSON (
        {
          inherit name;
        }
        // instance
      );
    };
in
{
  imports = [
    ./agent.nix
    ./haproxy.nix
    ./ingress.nix
  ];

  options.machinist.mesh = {
    enable = lib.mkEnableOption "this node's part in the service mesh";

    groups = lib.mkOption {
      type = lib.types.listOf (lib.types.enum groups);
      default = [ ];
      example = [
        "backends"
        "services"
      ];
      description = "Groups whose applications this node reaches, each at its port on 127.0.0.1.";
    };

    instances = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule instance);
      default = { };
      example = {
        web = {
          group = "frontends";
          port = 8080;
          check.http = "/ping";
        };
      };
      description = "What this node offers in the mesh, by a name that is unique on the node.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc = lib.mapAttrs' file cfg.instances;

    # Every node's haproxy connects to the instance itself.
    machinist.firewall.tcp = lib.mapAttrs' (
      name: instance:
      lib.nameValuePair "mesh-${name}" {
        inherit (instance) port;
        sources = [ network.nodes ] ++ lib.optional (network.nodes6 != null) network.nodes6;
      }
    ) cfg.instances;

    assertions = lib.concatLists (
      lib.mapAttrsToList (name: instance: [
        {
          assertion = builtins.match "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" name != null;
          message =
            "machinist.mesh.instances.\"${name}\" on ${node.name} is no name for an instance: use lower-case letters, "
            + "digits and hyphens, at most 63.";
        }
        {
          assertion = instance.check.http == null || instance.check.command == [ ];
          message =
            "machinist.mesh.instances.${name}.check on ${node.name} has both a path and a command: give it one of the two.";
        }
        {
          assertion =
            instance.check.command == [ ] || lib.hasPrefix "/" (lib.head instance.check.command);
          message =
            "machinist.mesh.instances.${name}.check.command on ${node.name} does not begin with an absolute path: "
            + "the agent looks nowhere else for the program.";
        }
      ]) cfg.instances
    );
  };
}
