# The service mesh: the instances that this node offers to the others, and the groups of
# applications that it reaches. The node agent registers the instances in etcd while they are
# healthy, and configures haproxy's routing.
{ config, lib, ... }:
let
  cfg = config.machinist.mesh;
  inherit (config.machinist) node network overlay;
  inherit (config.lib.machinist.types) ipAddress;

  shared = config.lib.machinist.instance;
  inherit (shared) groups;
  label = lib.types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

  instance =
    { name, config, ... }:
    {
      options = shared.options // {
        app = lib.mkOption {
          type = label;
          default = name;
          description = ''
            Application of the instance. The name must be in one group only. Several instances of it may run on one
            node, each with its own name and port: so a new one starts beside the old one.
          '';
        };
        address = lib.mkOption {
          type = ipAddress;
          default = cfg.address;
          defaultText = lib.literalExpression "config.machinist.mesh.address";
          description = ''
            Address of the instance for other nodes. It should listen on this address and not on all: the port on
            127.0.0.1 is haproxy's.
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
          description = "TCP port on 127.0.0.1 of the nodes that reach the group. The same for all instances.";
        };
        static = lib.mkOption {
          type = lib.types.bool;
          default = true;
          internal = true;
          description = "Offers the instance while this system runs; otherwise the program that starts it registers it.";
        };
      };
    };

  file =
    name: instance:
    lib.nameValuePair "machinist/mesh/instances/${name}.json" {
      text = builtins.toJSON (removeAttrs instance [ "static" ] // { inherit name; });
    };
  static = lib.filterAttrs (_: instance: instance.static) cfg.instances;
in
{
  imports = [
    ./agent.nix
    ./environment.nix
    ./files.nix
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

    address = lib.mkOption {
      type = ipAddress;
      default =
        if overlay.backend != null && overlay.carriesInstances then overlay.address else network.address;
      defaultText = lib.literalMD "the node's address in the overlay if there is one, else its own";
      description = "Default address that instances listen on.";
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
      description = "Instances that this node offers in the mesh, by a name that is unique on the node.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc = lib.mapAttrs' file static;

    # Every node's haproxy connects to the instance directly.
    machinist.firewall.tcp = lib.mapAttrs' (
      name: instance:
      lib.nameValuePair "mesh-${name}" {
        inherit (instance) port;
        sources = [
          network.nodes
        ]
        ++ lib.optional (network.nodes6 != null) network.nodes6
        ++ lib.optional (overlay.backend != null) overlay.network;
      }
    ) cfg.instances;

    assertions = lib.concatLists (
      lib.mapAttrsToList (name: instance: [
        {
          assertion = builtins.match "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" name != null;
          message =
            "machinist.mesh.instances.\"${name}\" on ${node.name} is not a valid name of an instance: use lower-case letters, "
            + "digits and hyphens, at most 63.";
        }
        {
          assertion = instance.check.http == null || instance.check.command == [ ];
          message = "machinist.mesh.instances.${name}.check on ${node.name} has both a path and a command: give it one of the two.";
        }
        {
          assertion = instance.check.command == [ ] || lib.hasPrefix "/" (lib.head instance.check.command);
          message =
            "machinist.mesh.instances.${name}.check.command on ${node.name} does not begin with an absolute path: "
            + "the agent has no search path.";
        }
      ]) cfg.instances
    );
  };
}
