# Applications: those of app_modules/, and some invalid ones, on a node of a mesh.
{
  lib,
  base,
  failed,
}:
let
  folder = ../../app_modules;
  names = lib.attrNames (lib.filterAttrs (_: type: type == "directory") (builtins.readDir folder));
  app =
    name: own:
    { lib, ... }:
    {
      machinist.apps.${name} = {
        group = lib.mkDefault "services";
        port = lib.mkDefault 9000;
      }
      // own;
    };
  # The form in which modules declared an application before machinist.apps was open.
  former =
    { config, lib, ... }:
    {
      options.machinist.apps.box = config.lib.machinist.app.option "box" {
        word = lib.mkOption {
          type = lib.types.str;
          default = "hello";
        };
      };
      config.machinist.apps.box = {
        group = lib.mkDefault "services";
        port = lib.mkDefault 9000;
        service.serviceConfig.ExecStart = "/bin/box ${config.machinist.apps.box.word}";
      };
    };
  digest = "@sha256:" + lib.concatStrings (lib.genList (_: "0") 64);

  # Three members, of which this node is one.
  members = {
    balthazar = "10.13.13.2";
    casper = "10.13.13.4";
    melchior = "10.13.13.3";
  };

  # Settings without which an application does not run.
  needed.mariadb.machinist.cluster.apps.mariadb = members;
  needed.whoami.machinist.apps.whoami.container.image = "registry.example/whoami${digest}";

  of =
    named: modules:
    base.extendModules {
      modules =
        map (name: folder + "/${name}") names
        ++ modules
        ++ map (name: needed.${name} or { }) named
        ++ [
          {
            machinist.etcd.enable = lib.mkForce false;
            machinist.mesh = {
              enable = true;
              etcdMembers = [ "10.13.13.2" ];
              groups = [ "services" ];
            };
            machinist.node.apps = named;
          }
        ];
    };
  lines = system: unit: lib.splitString "\n" system.config.systemd.units."${unit}.service".text;
  definition =
    system: name: builtins.fromJSON system.config.environment.etc."machinist/apps/${name}.json".text;

  web = of [ "web" ] [ ];
  changed = of [ "web" ] [ { machinist.apps.web.greeting = "changed"; } ];
  checked = of [ "web" ] [ { machinist.apps.web.check.fall = 3; } ];
  proven =
    of
      [ "web" ]
      [
        {
          machinist.apps.web.canary = {
            weight = 5;
            seconds = 100;
          };
        }
      ];
  other = of [ "web" ] [ { environment.etc.unrelated.text = ""; } ];
  contained =
    of
      [ "box" ]
      [
        (app "box" {
          secrets.password = "/run/secrets/box";
          drainSignal = "QUIT";
          container = {
            image = "registry.example/box${digest}";
            environment.LOG = "info";
            settings.user = "1000";
          };
        })
      ];
  native =
    of
      [ "box" ]
      [
        (app "box" {
          secrets.password = "/run/secrets/box";
          consumes = [ "web" ];
          service.serviceConfig.ExecStart = "/bin/box";
        })
      ];
in
{
  systems = [
    web
    contained
  ]
  ++ map (name: of [ name ] [ ]) names;
  known = names;
  redis = lines (of
    [ "redis" ]
    [ { machinist.apps.redis.secrets.auth = "/run/secrets/redis"; } ]
  ) "app-redis";
  postgresql =
    let
      system = of [ "postgresql" ] [ ];
    in
    {
      unit = lines system "postgresql";
      inherit (system.config.services.postgresql.settings) listen_addresses port;
      inherit (system.config.services.postgresql) authentication;
      roll = lib.intersectLists system.config.systemd.services.app-postgresql-roll.after system.config.systemd.services.app-postgresql-roll.wants;
      instance = builtins.fromJSON (
        builtins.unsafeDiscardStringContext
          system.config.environment.etc."machinist/mesh/instances/postgresql.json".text
      );
      own = (of [ ] [ ]).config.services.postgresql.enable;
    };
  registry =
    let
      locked =
        of
          [ "registry" ]
          [ { machinist.apps.registry.secrets.htpasswd = "/run/secrets/registry"; } ];
      fetching =
        image:
        (of [ "whoami" ] [ { machinist.apps.whoami.container.image = lib.mkForce "${image}${digest}"; } ])
        .config.virtualisation;
    in
    {
      unit = lines locked "docker-registry";
      inherit (locked.config.services.dockerRegistry) listenAddress;
      inherit (locked.config.services.dockerRegistry.extraConfig) auth;
      insecure = map (image: (fetching image).containers.registries.insecure) [
        "localhost:5000/whoami"
        "registry.example/whoami"
      ];
    };
  mariadb =
    let
      database = {
        machinist.apps.mariadb.databases.shop.passwordFile = "/run/secrets/shop";
      };
      system = of [ "mariadb" ] [ database ];
      two =
        of
          [ "mariadb" ]
          [ { machinist.cluster.apps.mariadb = lib.mkForce (removeAttrs members [ "casper" ]); } ];
      four =
        of
          [ "mariadb" ]
          [
            database
            { machinist.cluster.apps.mariadb.kaspar = "10.13.13.9"; }
          ];
      part = host: {
        ip = "10.10.${host}.1";
        subnet = "10.10.${host}.0/24";
      };
      overlaid =
        parts:
        of
          [ "mariadb" ]
          [
            {
              machinist.apps.mariadb.replicatesOver = "overlay";
              machinist.overlay.nodes = parts;
            }
          ];
      inOverlay = overlaid {
        balthazar = part "2";
        casper = part "4";
        melchior = part "3";
      };
      settings = system.config.services.mysql.settings.mysqld;
    in
    {
      overlay = {
        inherit (inOverlay.config.services.mysql.settings.mysqld) bind_address wsrep_node_address;
        members = inOverlay.config.environment.etc."machinist/mariadb/members".text;
        firewall = lib.splitString "\n" inOverlay.config.networking.firewall.extraInputRules;
        none = failed (overlaid { });
      };
      unit = lines system "mysql";
      accounts = lines system "mariadb-accounts";
      socket = lib.splitString "\n" system.config.systemd.units."mariadb-members.socket".text;
      inherit (settings) bind_address wsrep_cluster_address wsrep_sst_auth;
      options = lib.splitString ";" settings.wsrep_provider_options;
      members = system.config.environment.etc."machinist/mariadb/members".text;
      firewall = lib.splitString "\n" system.config.networking.firewall.extraInputRules;
      opened = system.config.networking.firewall.allowedTCPPorts;
      instance = builtins.fromJSON (
        builtins.unsafeDiscardStringContext
          system.config.environment.etc."machinist/mesh/instances/mariadb.json".text
      );
      stays = lines four "mysql" == lines system "mysql";
      warned = lib.filter (lib.hasInfix "two members") two.config.warnings;
      alone = failed (of [ "mariadb" ] [ { machinist.cluster.apps.mariadb = lib.mkForce { }; } ]);
      own = (of [ ] [ ]).config.services.mysql.enable;
    };
  # Each application of app_modules/ by itself.
  each = lib.genAttrs names (
    name:
    let
      system = of [ name ] [ ];
      option = system.config.machinist.apps.${name};
    in
    {
      failed = failed system;
      warnings = lib.filter (lib.hasInfix "app") system.config.warnings;
      inherit (option) strategy group port;
      instances = lib.mapAttrs (_: instance: instance.app) system.config.machinist.mesh.instances;
      units = lib.filter (lib.hasPrefix "app-") (lib.attrNames system.config.systemd.services);
      readme = builtins.pathExists (folder + "/${name}/README.md");
    }
  );
  none = {
    units = lib.filter (lib.hasPrefix "app-") (lib.attrNames (of [ ] [ ]).config.systemd.services);
    inherit ((of [ ] [ ]).config.machinist.mesh) instances;
  };
  web = {
    slot = lines web "app-web-b";
    roll = web.config.systemd.services.app-web-roll.wantedBy;
    definition = definition web "web";
    firewall = web.config.networking.firewall.extraInputRules;
    instances = lib.filter (lib.hasPrefix "machinist/mesh/") (lib.attrNames web.config.environment.etc);
    checks = definition checked "web" != definition web "web";
    changes = definition changed "web" != definition web "web";
    stays = definition other "web" == definition web "web";
  };
  container = {
    slot = lines contained "app-box-b";
    inherit (contained.config.virtualisation.oci-containers.containers.app-box-b)
      autoStart
      environment
      image
      networks
      ports
      user
      volumes
      ;
    failed = failed contained;
  };
  native = lines native "app-box-a";
  former =
    let
      system = of [ "box" ] [ former ];
    in
    {
      failed = failed system;
      slot = lines system "app-box-a";
    };
  # An option of one application does not exist on another.
  mixed =
    (builtins.tryEval (
      builtins.deepSeq
        (of [ "box" ] [ (app "box" { greeting = "hello"; }) ]).config.machinist.apps.box.port
        true
    )).success;
  canary = {
    said = (definition proven "web").canary;
    slots = (definition proven "web").slots == (definition web "web").slots;
    without = (definition web "web").canary or null;
    seconds =
      proven.config.systemd.services.app-web-roll.serviceConfig.TimeoutStartSec
      - web.config.systemd.services.app-web-roll.serviceConfig.TimeoutStartSec;
    failed = failed proven;
  };
  wrong = lib.mapAttrs (_: failed) {
    unknown = of [ "nothing" ] [ ];
    noMesh = (of [ "web" ] [ ]).extendModules {
      modules = [ { machinist.mesh.enable = lib.mkForce false; } ];
    };
    nothing = of [ "box" ] [ (app "box" { }) ];
    both =
      of
        [ "box" ]
        [
          (app "box" {
            unit = "x";
            service = { };
          })
        ];
    twoOfOne =
      of
        [ "box" ]
        [
          (app "box" {
            unit = "sshd";
            strategy = "surge";
          })
        ];
    canaryOfOne =
      of
        [ "box" ]
        [
          (app "box" {
            strategy = "recreate";
            canary = { };
            service.serviceConfig.ExecStart = "/bin/box";
          })
        ];
    canaryAnywhere = of [ "web" ] [ { machinist.apps.web.canary.command = [ "check-web" ]; } ];
    ports =
      of
        [ "box" "web" ]
        [
          (app "box" {
            port = 8081;
            service.serviceConfig.ExecStart = "/bin/box";
          })
        ];
    tag = of [ "box" ] [ (app "box" { container.image = "registry.example/box:latest"; }) ];
    bridged =
      of
        [ "box" ]
        [
          (app "box" {
            container.image = "box${digest}";
            consumes = [ "web" ];
          })
        ];
  };
  keyInStore =
    (builtins.tryEval (
      builtins.deepSeq
        (of [ "box" ] [ (app "box" { secrets.password = "${builtins.storeDir}/password"; }) ])
        .config.machinist.apps.box.secrets
        true
    )).success;
}
