# Values for the tests, as JSON: options of the sample cluster's nodes, and of invalid nodes.
{
  nixpkgs ? ../../testbed/nixos-lite,
  root ? ./sample,
}:
let
  # The outputs of a flake without the flake machinery, which would copy the tree to the store first.
  self = (import (nixpkgs + "/flake.nix")).outputs { inherit self; };
  inherit (self) lib;

  inputs = {
    nixpkgs = self;
    disko = self;
    sops-nix = self;
  };
  cluster = import ../../nix/cluster.nix { inherit inputs root; };
  k3s = import ./k3s.nix { inherit inputs lib; };
  kubernetes = import ./kubernetes.nix { inherit inputs lib; };
  router = import ./router.nix { inherit inputs lib; };
  apps = import ./apps.nix {
    inherit lib failed;
    base = melchior;
  };
  overlay = import ./overlay.nix {
    inherit lib failed;
    base = melchior;
  };
  control = import ./control.nix {
    inherit lib failed;
    base = melchior;
  };
  inherit (cluster.nixosConfigurations) balthazar casper melchior;

  mirrored = [
    "/dev/sda"
    "/dev/sdb"
  ];

  failed =
    system: map (entry: entry.message) (lib.filter (entry: !entry.assertion) system.config.assertions);
  with' = system: module: system.extendModules { modules = [ module ]; };

  view =
    { config, ... }:
    {
      inherit (config) warnings;
      inherit (config.networking) hostName domain nameservers;
      inherit (config.nixpkgs) hostPlatform;
      addresses = lib.mapAttrs (_: interface: {
        v4 = interface.ipv4.addresses;
        v6 = interface.ipv6.addresses;
      }) config.networking.interfaces;
      networkd = lib.mapAttrs (_: network: {
        inherit (network)
          matchConfig
          address
          gateway
          networkConfig
          ;
      }) config.systemd.network.networks;
      inherit (config.networking) useDHCP;
      authorizedKeys = config.users.users.root.openssh.authorizedKeys.keys;
      boot = {
        inherit (config.boot) isContainer;
        systemdBoot = config.boot.loader.systemd-boot.enable;
        grub = config.boot.loader.grub.enable;
        params = config.boot.kernelParams;
        emergency = config.systemd.enableEmergencyMode;
        watchdog = config.systemd.settings.Manager.RuntimeWatchdogSec or null;
        trial =
          if config.systemd.services ? machinist-boot-trial then
            { inherit (config.systemd.services.machinist-boot-trial) wantedBy unitConfig restartIfChanged; }
          else
            null;
        fallback = config.environment.etc."machinist/boot-fallback".text or null;
      };
      disk = config.disko.devices.disk or { };
      envFile = config.environment.etc."machinist/etcd.env".text;
      gates = config.environment.etc."machinist/gates".text or null;
      etc = lib.filter (lib.hasPrefix "machinist/") (lib.attrNames config.environment.etc);
      etcd = config.systemd.services.etcd.environment;
      addressesUnit =
        if config.systemd.services ? machinist-addresses then
          { inherit (config.systemd.services.machinist-addresses) after before script; }
        else
          null;
      firewall = lib.splitString "\n" config.networking.firewall.extraInputRules;
      gateway = config.networking.defaultGateway.address or null;
      inherit (config.machinist) install;
      devices = config.disko.devices;
      data = config.fileSystems."/data" or null;
      inherit (config.boot) swraid;
      inherit (config.networking) hostId;
      gc = lib.toList config.nix.gc.dates;
      hosts = config.networking.hosts;
      mutableUsers = config.users.mutableUsers;
      nftables = config.networking.nftables.enable;
      openPorts = config.networking.firewall.allowedTCPPorts;
      ssh = {
        inherit (config.services.openssh) ports authorizedKeysInHomedir startWhenNeeded;
        inherit (config.services.openssh.settings) PasswordAuthentication PermitRootLogin;
        certificate = config.services.openssh.settings.HostCertificate or null;
      };
      stateVersion = config.system.stateVersion;
      tmpfiles = config.systemd.tmpfiles.rules;
      unit = {
        inherit (config.systemd.services.etcd) wants after serviceConfig;
        requires = config.systemd.services.etcd.requires or [ ];
      };
      keyCheck = config.systemd.services.machinist-keys.script;
      restore = {
        inherit (config.systemd.services.machinist-etcd-restore) script;
        after = config.systemd.services.machinist-etcd-restore.serviceConfig.ExecStartPost;
      };
      expiry =
        if config.systemd.services ? machinist-certificates then
          {
            inherit (config.systemd.services.machinist-certificates) script serviceConfig wantedBy;
            timer = config.systemd.timers.machinist-certificates.timerConfig;
          }
        else
          null;
      packages = map (package: package.name or "") config.environment.systemPackages;
    };

  # Every attribute path that modules/ sets: down to the leaves of the definitions, through mkIf and similar.
  modules = toString ../../modules;
  leaves =
    path: value:
    if lib.isFunction value then
      # A module: an application's settings of its own unit are checked where they are merged.
      [ ]
    else if !lib.isAttrs value || lib.isDerivation value then
      [ path ]
    else if value ? _type then
      if value ? contents then
        lib.concatMap (leaves path) value.contents
      else if value ? content then
        leaves path value.content
      else
        [ path ]
    else
      lib.concatLists (lib.mapAttrsToList (name: leaves (path ++ [ name ])) value);
  definedIn =
    path: options:
    lib.concatLists (
      lib.mapAttrsToList (
        name: option:
        let
          here = path ++ [ name ];
          all = option.definitionsWithLocations or [ ];
          # An option without definitions may have a default that throws.
          readable = (builtins.tryEval (builtins.length all)).success;
          definitions = lib.optionals readable (
            lib.filter (definition: lib.hasPrefix modules (toString definition.file)) all
          );
        in
        if lib.isOption option then
          map (leaf: {
            path = leaf;
            option = lib.concatStringsSep "." here;
            type = option.type.description;
          }) (lib.concatMap (definition: leaves here definition.value) definitions)
        else if lib.isAttrs option then
          definedIn here option
        else
          [ ]
      ) options
    );
  # `lib` is an option of NixOS without a page in its manual.
  # Each of the flake's nixosModules without the others, on a node that has it.
  partModules = import ../../nix/modules.nix;
  facts = {
    default = [ ./kubernetes/generated/cp1.nix ];
    disk = [
      {
        machinist = {
          cluster = {
            name = "magi";
            domain = "magi.internal";
            release = "26.05";
          };
          node = {
            name = "melchior";
            system = "x86_64-linux";
            disk = "/dev/disk/by-id/nvme-melchior";
          };
          network = {
            address = "10.13.13.3";
            nodes = "10.13.13.0/24";
            prefixLength = 24;
          };
        };
      }
    ];
    etcd = [ ./sample/generated/melchior.nix ];
    k3s = [ ./k3s/generated/s1.nix ];
    kubernetes = [ ./kubernetes/generated/cp1.nix ];
    mesh = [
      ./sample/generated/melchior.nix
      {
        machinist.etcd.enable = lib.mkForce false;
        machinist.node.apps = [ "box" ];
        machinist.mesh = {
          enable = true;
          etcdMembers = [ "10.13.13.2" ];
        };
        machinist.apps.box = {
          group = "services";
          port = 9000;
          service.serviceConfig.ExecStart = "/bin/box";
        };
      }
    ];
    router = [ ./router/generated/router.nix ];
  };
  parts = lib.mapAttrs (
    name: part:
    let
      hasDisk = name == "default" || name == "disk";
      system = lib.nixosSystem {
        modules = [
          part
        ]
        ++ facts.${name}
        ++ lib.optional hasDisk inputs.disko.nixosModules.disko
        ++ lib.optional (!hasDisk) {
          fileSystems."/".device = "/dev/disk/by-label/root";
          boot.loader.grub.device = "nodev";
        };
      };
    in
    {
      failed = failed system;
      isSystem = builtins.isString system.config.system.build.toplevel.drvPath;
    }
  ) partModules;

  defined =
    system:
    definedIn [ ] (
      removeAttrs system.options [
        "lib"
        "machinist"
      ]
    );
in
{
  nodes = {
    balthazar = view balthazar;
    casper = view casper;
    melchior = view melchior;
  };
  failed = {
    balthazar = failed balthazar;
    casper = failed casper;
    melchior = failed melchior;
    openFirewall = failed (with' balthazar { services.etcd.openFirewall = true; });
    iptables = failed (with' balthazar { networking.nftables.enable = false; });
    otherPort = failed (with' balthazar { services.openssh.ports = lib.mkForce [ 2022 ]; });
    notAMember = failed (with' balthazar { machinist.network.address = lib.mkForce "10.13.13.9"; });
    noInterface = failed (
      with' balthazar {
        machinist.network.interface = lib.mkForce null;
        machinist.network.configure = true;
      }
    );
    twoGates = failed (
      with' balthazar {
        machinist.gates.both = {
          http = "http://127.0.0.1/";
          command = [ "true" ];
        };
        machinist.gates.none = { };
      }
    );
    noRoot = failed (with' balthazar { machinist.node.disk = lib.mkForce null; });
    rootOfOnesOwn = failed (
      with' balthazar {
        machinist.node.disk = lib.mkForce null;
        fileSystems."/".device = "/dev/disk/by-label/root";
        boot.loader.grub.device = "nodev";
      }
    );
    mirrorByUefi = failed (
      with' balthazar {
        machinist.disk.devices = mirrored;
        machinist.disk.firmware = "uefi";
      }
    );
    zfsByBios = failed (
      with' balthazar {
        machinist.disk.fileSystem = "zfs";
        machinist.disk.firmware = "bios";
      }
    );
    noDisk = failed (
      with' balthazar {
        machinist.node.disk = lib.mkForce null;
        machinist.disk.layout = true;
      }
    );
  };
  variants = {
    droplet = view (
      with' balthazar {
        machinist.node.provider = lib.mkForce "digitalocean";
        machinist.network.nameservers = lib.mkForce [ ];
        machinist.network.interface = lib.mkForce null;
        machinist.network.links = {
          "aa:bb:cc:00:00:01" = {
            addresses = [
              "203.0.113.5/20"
              "2001:db8::5/64"
            ];
            gateways = [
              "203.0.113.1"
              "2001:db8::1"
            ];
          };
          "aa:bb:cc:00:00:02".addresses = [ "10.13.13.2/24" ];
        };
      }
    );
    moreCertificates = view (
      with' balthazar { machinist.certificates.files = [ "/var/lib/acme/*/cert.pem" ]; }
    );
    bios = view (with' balthazar { machinist.disk.firmware = "bios"; });
    hybrid = view (with' balthazar { machinist.disk.firmware = "hybrid"; });
    mirror = view (with' balthazar { machinist.disk.devices = mirrored; });
    zfsMirror = view (
      with' balthazar {
        machinist.disk.devices = mirrored;
        machinist.disk.fileSystem = "zfs";
      }
    );
    zfs = view (with' balthazar { machinist.disk.fileSystem = "zfs"; });
    dataDisk = view (
      with' balthazar {
        machinist.disk.keep."/data" = {
          device = "/dev/sdb1";
          fileSystem = "xfs";
        };
      }
    );
    keptDisk = view (
      with' balthazar {
        disko.devices.disk.own = {
          device = "/dev/sda";
          content.type = "gpt";
        };
        disko.devices.disk.data = {
          device = "/dev/sdb";
          destroy = false;
          content.type = "gpt";
        };
        networking.useDHCP = false;
        boot.initrd.kernelModules = [ "megaraid_sas" ];
      }
    );
    noFallback = view (with' balthazar { machinist.boot.fallback.enable = false; });
    quickFallback = view (
      with' balthazar {
        machinist.boot.fallback.deadline = 300;
        machinist.boot.fallback.panicReset = 5;
        systemd.enableEmergencyMode = true;
      }
    );
    sandboxDisk = view (with' melchior { machinist.node.disk = "/dev/vda"; });
    ownDisk = view (with' balthazar { disko.devices.disk.own.device = "/dev/sda"; });
    noOperators = view (with' balthazar { machinist.operators = lib.mkForce { }; });
    bootstrapped = view (
      with' balthazar { machinist.etcd.initialClusterState = lib.mkForce "existing"; }
    );
    gates = view (
      with' balthazar {
        machinist.gates.web = {
          http = "http://127.0.0.1/it's";
          timeout = 7;
        };
        machinist.gates.db.command = [
          "echo"
          "a 'b' $c"
        ];
      }
    );
    joining = view (with' balthazar { machinist.etcd.joining = [ "casper" ]; });
    joins = view (
      with' balthazar {
        machinist.etcd.joining = [
          "balthazar"
          "casper"
        ];
      }
    );
    moving = view (
      with' balthazar {
        machinist.network.secondAddress = "10.13.13.9";
        machinist.etcd.moving = [ "10.13.13.9" ];
      }
    );
    ipv6 = view (
      with' balthazar {
        machinist.network.address = lib.mkForce "fd13::2";
        machinist.network.address6 = lib.mkForce null;
        machinist.network.prefixLength = lib.mkForce 64;
        machinist.etcd.members.balthazar = lib.mkForce "fd13::2";
      }
    );
  };
  # A node that is not a member has no etcd configuration.
  worker =
    let
      system = with' melchior { machinist.etcd.enable = lib.mkForce false; };
    in
    {
      failed = failed system;
      inherit (system.config) warnings;
      firewall = system.config.networking.firewall.extraInputRules;
      units = lib.filter (name: lib.hasInfix "etcd" name || lib.hasInfix "machinist" name) (
        lib.attrNames system.config.systemd.services
      );
    };
  keyInStore =
    (builtins.tryEval
      (with' balthazar {
        machinist.pki.certificates.etcd-server.key = lib.mkForce "${builtins.storeDir}/etcd-server.key";
      }).config.machinist.pki.certificates.etcd-server.key
    ).success;
  mesh =
    let
      of =
        instances:
        with' melchior {
          machinist.etcd.enable = lib.mkForce false;
          machinist.mesh = {
            enable = true;
            etcdMembers = [ "10.13.13.2" ];
            groups = [ "services" ];
            inherit instances;
          };
        };
      system = of {
        web = {
          group = "frontends";
          port = 8080;
          publish.port = 80;
          check.http = "/ping";
          env.prefix = "WEB";
        };
      };
      unit = name: system.config.systemd.services.${name};
    in
    {
      instance = builtins.fromJSON system.config.environment.etc."machinist/mesh/instances/web.json".text;
      agent = removeAttrs (unit "machinist-agent").serviceConfig [
        "ExecReload"
        "ExecStart"
      ];
      haproxy = (unit "machinist-haproxy").serviceConfig.ExecStart;
      reloads = (unit "machinist-haproxy").reloadIfChanged;
      first =
        let
          first = unit "machinist-haproxy-configuration";
        in
        {
          inherit (first.unitConfig) ConditionPathExists;
          inherit (first.serviceConfig) User;
        };
      firewall = system.config.networking.firewall.extraInputRules;
      failed = failed system;
      wrong = failed (of {
        "x.y" = {
          group = "frontends";
          app = "a";
          port = 8080;
          check.http = "/";
          check.command = [ "true" ];
        };
      });
      noMembers = failed (
        with' melchior {
          machinist.mesh.enable = true;
        }
      );
      files =
        let
          followed =
            files:
            with' melchior {
              machinist.etcd.enable = lib.mkForce false;
              machinist.mesh = {
                inherit files;
                enable = true;
                etcdMembers = [ "10.13.13.2" ];
              };
            };
          system = followed { "targets.json".template = ./eval.nix; };
        in
        {
          inherit (system.config.machinist.mesh.files."targets.json") path;
          follows = system.config.systemd.paths."machinist-mesh-file-targets.json".pathConfig;
          failed = failed system;
          wrong = failed (followed {
            "a b".template = ./eval.nix;
            x = {
              template = ./eval.nix;
              check = [ "jq" ];
            };
          });
        };
    };
  ingress =
    let
      of =
        ingress:
        with' melchior {
          machinist.etcd.enable = lib.mkForce false;
          machinist.mesh = {
            enable = true;
            etcdMembers = [ "10.13.13.2" ];
            inherit ingress;
          };
        };
      complete = {
        peers = [
          "10.13.13.2"
          "fd13::4"
        ];
        acme.email = "ops@example.org";
        hosts = {
          "www.example.org" = {
            aliases = [ "example.org" ];
            locations = {
              "/" = {
                app = "web";
                port = 8000;
              };
              "/api" = {
                app = "api";
                port = 8001;
              };
            };
          };
          "try.example.org" = {
            issuer = "staging";
            locations."/".app = "web";
            locations."/".port = 8000;
          };
          "inside.example.org" = {
            issuer = "https://ca.example.org/acme/acme/directory";
            locations."/".app = "web";
            locations."/".port = 8000;
          };
          "own.example.org" = {
            certificate = "/run/secrets/own.pem";
            locations."/".app = "web";
            locations."/".port = 8000;
          };
          "plain.example.org" = {
            https = false;
            locations."/".app = "web";
            locations."/".port = 8000;
          };
        };
      };
      system = of complete;
      dns = of (
        complete
        // {
          acme = complete.acme // {
            dnsProvider = "hetzner";
            credentialFiles.HETZNER_API_TOKEN_FILE = "/run/secrets/dns";
          };
        }
      );
      file = system: name: system.config.environment.etc."machinist/ingress/${name}".text;
      unit = system.config.systemd.services.machinist-ingress;
      orders =
        system:
        lib.mapAttrs'
          (
            name: order:
            lib.nameValuePair (lib.removePrefix "acme-order-renew-" name) {
              inherit (order.serviceConfig) Restart SuccessExitStatus;
              lego = (lib.head order.path).name;
            }
          )
          (lib.filterAttrs (name: _: lib.hasPrefix "acme-order-renew-" name) system.config.systemd.services);
      refused =
        issuer:
        !(builtins.tryEval (of { acme = { inherit issuer; }; }).config.machinist.mesh.ingress.acme.issuer)
        .success;
    in
    {
      configuration = file system "haproxy.cfg";
      certificates = file system "certificates.txt";
      failed = failed system;
      ports = system.config.networking.firewall.allowedTCPPorts;
      firewall = system.config.networking.firewall.extraInputRules;
      certs = lib.mapAttrs (_: cert: {
        inherit (cert)
          extraDomainNames
          group
          listenHTTP
          reloadServices
          server
          ;
      }) system.config.security.acme.certs;
      orders = orders system;
      again = {
        inherit (system.config.systemd.services.machinist-ingress-orders) script;
        timer = system.config.systemd.timers.machinist-ingress-orders.timerConfig;
      };
      inherit (unit) wants reloadIfChanged;
      user = unit.serviceConfig.User;
      dns = {
        failed = failed dns;
        orders = orders dns;
        certs = lib.mapAttrs (_: cert: {
          inherit (cert) dnsProvider listenHTTP;
        }) dns.config.security.acme.certs;
        configuration = file dns "haproxy.cfg";
        firewall = dns.config.networking.firewall.extraInputRules;
      };
      refused = map refused [
        "http://ca.example.org/directory"
        "letsencrypt"
        "https://ca.example.org"
      ];
      nothing = (of { }).config.systemd.services ? machinist-ingress;
      wrong = failed (of {
        acme.credentialFiles = {
          HETZNER_API_KEY_FILE = "/run/secrets/dns";
          DO_AUTH_TOKEN_FILE = "${builtins.storeDir}/token";
        };
        hosts = {
          "WWW" = { };
          "a.example.org" = {
            aliases = [ "b.example.org" ];
            certificate = "${builtins.storeDir}/own.pem";
            locations."api".app = "web";
            locations."api".port = 1;
          };
          "b.example.org".locations."/".app = "unknown";
        };
      });
    };
  inherit parts;
  machines = cluster.lib.machines;
  systems = lib.attrNames cluster.nixosConfigurations;
  limited =
    let
      of =
        rate:
        (with' balthazar {
          machinist.etcd.clients = lib.mkForce [
            "10.13.13.20"
            "fd13::20"
          ];
          machinist.etcd.clientBytesPerSecond = rate;
        }).config.networking.nftables.tables.machinist-etcd-clients.content or null;
    in
    map of [
      null
      262144
    ];
  ownership = {
    found = import ./ownership.nix (
      cluster.nixosConfigurations
      // lib.listToAttrs (
        lib.imap0
          (number: system: lib.nameValuePair "${toString number}-${system.config.machinist.node.name}" system)
          (
            apps.systems
            ++ control.systems
            ++ overlay.systems
            ++ k3s.systems
            ++ kubernetes.systems
            ++ router.systems
          )
      )
      // {
        edge = with' melchior {
          machinist.etcd.enable = lib.mkForce false;
          machinist.mesh = {
            enable = true;
            etcdMembers = [ "10.13.13.2" ];
            files."targets.json".template = ./eval.nix;
            ingress = {
              acme.email = "ops@example.org";
              hosts."www.example.org".locations."/" = {
                app = "web";
                port = 8000;
              };
            };
          };
        };
      }
    );
    # Each kind of violation, as it existed once or could exist.
    wrong = import ./ownership.nix {
      wrong = with' balthazar {
        systemd.tmpfiles.rules = [
          "d /run/shared 0770 root mesh -"
          "d /var/lib/theirs 0750 them them -"
          "C /var/lib/theirs/first.cfg 0640 root root - /etc/first.cfg"
          "d /var/lib/nothing 0755 root root -"
        ];
        systemd.services.app.serviceConfig = {
          User = "app";
          RuntimeDirectory = "app";
          EnvironmentFile = "-/run/shared/env/db.env";
          LoadCredential = "x:/var/lib/theirs/x";
          ExecStartPre = [
            "+-/bin/tool /run/app/socket"
            "/bin/tool /var/lib/theirs/harmless"
          ];
        };
        systemd.services.bring = {
          path = [ ];
          script = ''
            [ -e /run/shared/file ] || exit 0
            install /run/shared/file /etc/file
            cd /var/lib/theirs
            cat /var/lib/nothing/file /run/sharedness
          '';
        };
      };
    };
    former = failed (
      with' melchior {
        machinist.etcd.enable = lib.mkForce false;
        machinist.mesh.enable = true;
        machinist.mesh.etcdMembers = [ "10.13.13.2" ];
        systemd.services.own.serviceConfig.EnvironmentFile = "/run/machinist-mesh/env/web.env";
      }
    );
  };
  apps = removeAttrs apps [ "systems" ];
  control = removeAttrs control [ "systems" ];
  overlay = removeAttrs overlay [ "systems" ];
  k3s = removeAttrs k3s [ "systems" ];
  kubernetes = removeAttrs kubernetes [ "systems" ];
  router = removeAttrs router [ "systems" ];
  defined = lib.unique (
    lib.concatMap defined (
      apps.systems
      ++ control.systems
      ++ overlay.systems
      ++ k3s.systems
      ++ kubernetes.systems
      ++ router.systems
      ++ [
        balthazar
        melchior
        (with' balthazar { machinist.network.gateway = lib.mkForce "fd13::1"; })
        (with' balthazar { machinist.network.nameservers = [ "10.13.13.1" ]; })
        (with' melchior { machinist.mesh.enable = true; })
      ]
    )
  );
}
