# Options of every application: a submodule of machinist.apps, for the application of that name.
{ config, lib }:
let
  inherit (config.machinist)
    cluster
    mesh
    node
    ;
  inherit (config.lib.machinist.types) ipAddress secretPath;
  shared = config.lib.machinist.instance;

  container = lib.types.submodule {
    options = {
      image = lib.mkOption {
        type = lib.types.str;
        example = "registry.example/web@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        description = ''
          Image, by its digest: a tag may be another image tomorrow, which was not deployed. With {option}`imageFile`,
          the name of the image in the file.
        '';
      };
      imageFile = lib.mkOption {
        type = lib.types.nullOr lib.types.path;
        default = null;
        description = "Archive with the image, instead of a registry. It is part of the closure.";
      };
      network = lib.mkOption {
        type = lib.types.enum [
          "bridge"
          "host"
        ];
        default = "bridge";
        description = ''
          `bridge`: a separate network, of which {option}`port` is published. `host`: the node's network, where the
          program must listen on the address and port of the variables `ADDRESS` and `PORT`. Only there 127.0.0.1 is
          the node's, where other applications are reached.
        '';
      };
      port = lib.mkOption {
        type = lib.types.port;
        default = 80;
        description = "Port that the program listens on in a separate network.";
      };
      cmd = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        description = "Arguments for the image's program.";
      };
      environment = lib.mkOption {
        type = lib.types.attrsOf lib.types.str;
        default = { };
        description = ''
          Environment variables. All users of the node can read them: secrets belong in {option}`secrets`.
        '';
      };
      volumes = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [ "/var/lib/web:/data" ];
        description = "Mounts, as `node:container[:options]`. Both slots get the same.";
      };
      settings = lib.mkOption {
        type = lib.types.deferredModule;
        default = { };
        example = {
          user = "1000";
        };
        description = "More options of {option}`virtualisation.oci-containers.containers.<name>`.";
      };
    };
  };

  canary = lib.types.submodule {
    options = {
      weight = lib.mkOption {
        type = lib.types.ints.between 0 100;
        default = 10;
        description = ''
          Share of this node's connections for the new version during the period, in percent; the old one has the
          rest. 0: only {option}`command` uses it until all connections switch over at once (blue-green).
        '';
      };
      seconds = lib.mkOption {
        type = lib.types.ints.between 1 3600;
        default = 60;
        description = ''
          Length of the period, in seconds. A deploy waits for it: more than its `--activation-timeout` (300 seconds)
          needs a longer one.
        '';
      };
      command = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [ "/run/current-system/sw/bin/check-web" ];
        description = ''
          Program that must exit with 0 each time, with its arguments. Root runs it once a second, with the variables
          `ADDRESS` and `PORT` of the new version; the last line of its standard error is the reason of a failure.
        '';
      };
    };
  };
in
{ name, config, ... }:
{
  options = shared.options // {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = lib.elem name node.apps;
      defaultText = lib.literalMD "whether `apps` of the machine in machines.nix names it";
      description = "Runs ${name} on this node.";
    };
    members = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = cluster.apps.${name} or { };
      defaultText = lib.literalMD "the machines that name it in machines.nix";
      description = ''
        Machines that run ${name}, with their own addresses: for programs that replicate their data among them. For
        addresses in the overlay, which depends on flannel, see {option}`config.machinist.overlay.nodes`.
      '';
    };
    address = lib.mkOption {
      type = ipAddress;
      default = mesh.address;
      defaultText = lib.literalExpression "config.machinist.mesh.address";
      description = "Address that it listens on. Not all addresses: the port on 127.0.0.1 is haproxy's.";
    };
    port = lib.mkOption {
      type = lib.types.port;
      description = "Port that it listens on; with slots, in slot a.";
    };
    alternatePort = lib.mkOption {
      type = lib.types.port;
      default = config.port + 1;
      defaultText = lib.literalExpression "port + 1";
      description = "Port that it listens on in slot b.";
    };
    publish.port = lib.mkOption {
      type = lib.types.port;
      default = config.port;
      defaultText = lib.literalExpression "port";
      description = "Port on 127.0.0.1 of other nodes that leads to it. The same on all nodes.";
    };
    strategy = lib.mkOption {
      type = lib.types.enum [
        "recreate"
        "surge"
      ];
      default = if config.unit == null then "surge" else "recreate";
      defaultText = lib.literalExpression ''if unit == null then "surge" else "recreate"'';
      description = ''
        Update strategy. `surge`: it has two slots; the new version starts in the free slot, and the old one is
        stopped when the new one is in the mesh. `recreate`: the old one is stopped first, for programs that cannot
        run twice, such as a database.
      '';
    };
    startSeconds = lib.mkOption {
      type = lib.types.ints.between 1 3600;
      default = 60;
      description = "Time until its check must succeed, in seconds. After that the change is reverted.";
    };
    settleSeconds = lib.mkOption {
      type = lib.types.ints.between 0 600;
      default = 2;
      description = "Time that it must stay healthy before it counts as started, in seconds.";
    };
    canary = lib.mkOption {
      type = lib.types.nullOr canary;
      default = null;
      example = {
        weight = 10;
        seconds = 60;
      };
      description = ''
        Canary period of a new version, after it is healthy and before the old one is stopped. If it becomes
        unhealthy, or the command fails, it is stopped and the old one continues.
      '';
    };
    drainSignal = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[A-Z0-9]+");
      default = null;
      example = "QUIT";
      description = ''
        Signal for a graceful stop, sent when no new connections arrive: the program closes kept connections after the
        next response (nginx: `QUIT`, haproxy: `USR1`). Without one, connections that their clients keep open are cut
        after {option}`drainSeconds`.
      '';
    };
    service = lib.mkOption {
      type = lib.types.nullOr lib.types.deferredModule;
      default = null;
      description = ''
        A program of the closure: options of {option}`systemd.services.<name>`, or a function of `slot` with `name`,
        `address` and `port`. The variables `ADDRESS` and `PORT` have the same values.
      '';
    };
    container = lib.mkOption {
      type = lib.types.nullOr container;
      default = null;
      description = "An image of a container, run by podman.";
    };
    unit = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "postgresql";
      description = "A service that another module of NixOS defines, by the name of its unit without `.service`.";
    };
    secrets = lib.mkOption {
      type = lib.types.attrsOf secretPath;
      default = { };
      example = lib.literalExpression "{ password = config.sops.secrets.web.path; }";
      description = ''
        Files on the node, by a name. Each is {file}`$CREDENTIALS_DIRECTORY/<name>` for the program, in a container
        {file}`/run/secrets/<name>`, and readable for no other user.
      '';
    };
    consumes = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "redis" ];
      description = ''
        Applications that it uses. It starts as soon as each is in the mesh, with the variables of that application's
        {option}`env.prefix`.
      '';
    };
  };
}
