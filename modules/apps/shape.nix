# The options that every application has: a submodule of machinist.apps, for the application of its name.
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
          Image, by its digest: a tag may be another image tomorrow, and then what runs is not what was deployed. With
          {option}`imageFile`, the name that the image has in the file.
        '';
      };
      imageFile = lib.mkOption {
        type = lib.types.nullOr lib.types.path;
        default = null;
        description = "Archive with the image, in the place of a registry. It is part of the closure.";
      };
      network = lib.mkOption {
        type = lib.types.enum [
          "bridge"
          "host"
        ];
        default = "bridge";
        description = ''
          `bridge`: a network of its own, of which {option}`port` is published. `host`: the node's, where the program
          must listen on the address and port that the variables `ADDRESS` and `PORT` say. Only there 127.0.0.1 is the
          node's, by which other applications are reached.
        '';
      };
      port = lib.mkOption {
        type = lib.types.port;
        default = 80;
        description = "Port that the program listens on in a network of its own.";
      };
      cmd = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        description = "Arguments for the image's program.";
      };
      environment = lib.mkOption {
        type = lib.types.attrsOf lib.types.str;
        default = { };
        description = "Variables. Everyone on the node can read them: secrets belong in {option}`secrets`.";
      };
      volumes = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [ "/var/lib/web:/data" ];
        description = "What is mounted, as `node:container[:options]`. Both slots get the same.";
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
          Share of this node's connections that it gets meanwhile, in percent; the old one has the rest. 0: only
          {option}`command` uses it until all connections go over to it at once (blue-green).
        '';
      };
      seconds = lib.mkOption {
        type = lib.types.ints.between 1 3600;
        default = 60;
        description = ''
          How long. A deploy waits for it: more than its `--activation-timeout` (300 seconds) takes another one.
        '';
      };
      command = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [ ];
        example = [ "/run/current-system/sw/bin/check-web" ];
        description = ''
          Program that must end with 0 each time, with its arguments. It is run once a second, by root, with the
          variables `ADDRESS` and `PORT` of the new one; what it says last on its standard error is the reason.
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
      description = "Whether this node runs ${name}.";
    };
    members = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = cluster.apps.${name} or { };
      defaultText = lib.literalMD "the machines that name it in machines.nix";
      description = ''
        Machines that run ${name}, with their own addresses: for what replicates its data among them. Not those in the
        overlay, which comes and goes with flannel; {option}`config.machinist.overlay.nodes` has those.
      '';
    };
    address = lib.mkOption {
      type = ipAddress;
      default = mesh.address;
      defaultText = lib.literalExpression "config.machinist.mesh.address";
      description = "Address that it listens on. Not all: the port on 127.0.0.1 is haproxy's.";
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
      description = "Port on 127.0.0.1 by which other nodes reach it. The same on all nodes.";
    };
    strategy = lib.mkOption {
      type = lib.types.enum [
        "recreate"
        "surge"
      ];
      default = if config.unit == null then "surge" else "recreate";
      defaultText = lib.literalExpression ''if unit == null then "surge" else "recreate"'';
      description = ''
        What becomes of it when it changes. `surge`: it has two slots; the new one starts in the free slot, and the
        old one is stopped when the new one is in the mesh. `recreate`: the old one is stopped first, for what cannot
        run twice, such as a database.
      '';
    };
    startSeconds = lib.mkOption {
      type = lib.types.ints.between 1 3600;
      default = 60;
      description = "How long it may take until its check succeeds. After that the change is undone.";
    };
    settleSeconds = lib.mkOption {
      type = lib.types.ints.between 0 600;
      default = 2;
      description = "How long it must stay healthy before it counts as started.";
    };
    canary = lib.mkOption {
      type = lib.types.nullOr canary;
      default = null;
      example = {
        weight = 10;
        seconds = 60;
      };
      description = ''
        How a new one proves itself, when it has settled and before the old one is stopped. If it gets unhealthy, or
        the command says no, it is stopped and the old one goes on as before.
      '';
    };
    drainSignal = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[A-Z0-9]+");
      default = null;
      example = "QUIT";
      description = ''
        Signal that tells the program to finish, when no new connections come any more: to end kept connections after
        the next answer (nginx: `QUIT`, haproxy: `USR1`). Without one, connections that their clients keep open are
        cut after {option}`drainSeconds`.
      '';
    };
    service = lib.mkOption {
      type = lib.types.nullOr lib.types.deferredModule;
      default = null;
      description = ''
        A program of the closure: options of {option}`systemd.services.<name>`, or a function that gets `slot` with
        `name`, `address` and `port`. The variables `ADDRESS` and `PORT` say the same.
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
      example = lib.literalExpression ''{ password = config.sops.secrets.web.path; }'';
      description = ''
        Files on the node, by a name. The program finds each as {file}`$CREDENTIALS_DIRECTORY/<name>`, in a
        container as {file}`/run/secrets/<name>`, and nobody else can read it.
      '';
    };
    consumes = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "redis" ];
      description = ''
        Applications that it uses. It starts as soon as each is in the mesh, with the variables that
        {option}`env.prefix` of that application names.
      '';
    };
  };
}
