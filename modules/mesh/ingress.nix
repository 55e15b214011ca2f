# The ingress of the mesh: a separate haproxy terminates TLS and forwards requests by host and path
# to applications, each at its port on 127.0.0.1. It reads nothing from etcd, and the mesh's haproxy
# reads no private key.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.mesh.ingress;
  inherit (config.machinist) network node;
  inherit (config.lib.machinist.types) ipAddress urlHost;
  inherit (import ./ingress-config.nix { inherit lib; }) configuration certificates;

  hostName = lib.types.strMatching "[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+";
  issuers = {
    production = "https://acme-v02.api.letsencrypt.org/directory";
    staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
  };
  issuer = lib.types.either (lib.types.enum (lib.attrNames issuers)) (
    lib.types.strMatching "https://[^[:space:]]+"
  );

  location =
    { config, ... }:
    {
      options = {
        app = lib.mkOption {
          type = lib.types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
          example = "web";
          description = "Application that answers. Ingress nodes reach those of the group `frontends`.";
        };
        port = lib.mkOption {
          type = lib.types.nullOr lib.types.port;
          default = lib.attrByPath [ "machinist" "apps" config.app "publish" "port" ] null topConfig;
          defaultText = lib.literalExpression "config.machinist.apps.\${app}.publish.port or null";
          example = 8000;
          description = "Port that the application is published on: `publish.port` of its instances.";
        };
      };
    };
  topConfig = config;

  host =
    { config, ... }:
    {
      options = {
        aliases = lib.mkOption {
          type = lib.types.listOf hostName;
          default = [ ];
          example = [ "example.org" ];
          description = "Additional names of the host. They are in its certificate too.";
        };
        locations = lib.mkOption {
          type = lib.types.attrsOf (lib.types.submodule location);
          default = { };
          example = {
            "/".app = "web";
            "/api".app = "api";
          };
          description = ''
            Application of each path. The longest path wins; `/api` matches `/api` and everything below `/api/`, and
            not `/apis`.
          '';
        };
        https = lib.mkOption {
          type = lib.types.bool;
          default = true;
          description = "Redirects plain HTTP to HTTPS. `false`: plain HTTP only.";
        };
        certificate = lib.mkOption {
          type = lib.types.nullOr (lib.types.strMatching "/[^ ]+");
          default = null;
          example = "/run/secrets/www.example.org.pem";
          description = ''
            File on the node with the certificate, its chain and its private key, PEM, which the group
            `machinist-ingress` may read. `null`: an ACME authority issues it. Not a path of the store, which is
            world-readable.
          '';
        };
        issuer = lib.mkOption {
          type = issuer;
          default = cfg.acme.issuer;
          defaultText = lib.literalExpression "config.machinist.mesh.ingress.acme.issuer";
          example = "https://ca.example.org/acme/acme/directory";
          description = "Issuer of this host's certificate, as `acme.issuer`.";
        };
      };
    };

  hosts = lib.filterAttrs (_: host: host.https) cfg.hosts;
  acmeHosts = lib.filterAttrs (_: host: host.certificate == null) hosts;
  active = config.machinist.mesh.enable && cfg.hosts != { };
  certificateUnits = map (name: "acme-${name}.service") (lib.attrNames acmeHosts);
  order = name: "acme-order-renew-${name}";
  byHttp01 = name: topConfig.security.acme.certs.${name}.dnsProvider == null;
  # It uses the same port for each host, so one order waits for the other. The directory is that of
  # NixOS' own locks.
  oneLego = pkgs.writeShellScriptBin "lego" ''
    exec ${pkgs.util-linux}/bin/flock /run/acme/machinist-ingress.lock ${lib.getExe pkgs.lego} "$@"
  '';
  usesHttp01 = acmeHosts != { } && cfg.acme.dnsProvider == null;
  # lego listens on the first port while it proves control of the host; the other ingress nodes use
  # the second.
  challenge = {
    local = 9481;
    peers = 9482;
  };
in
{
  options.machinist.mesh.ingress = {
    hosts = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule host);
      default = { };
      example = {
        "www.example.org".locations."/".app = "web";
      };
      description = "Hosts that this node exposes, by name. Without one the ingress does not listen.";
    };

    peers = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.7" ];
      description = ''
        Addresses of the other ingress nodes. A name may resolve to all of them: a challenge of the ACME authority
        that arrives at another node is forwarded.
      '';
    };

    maxconn = lib.mkOption {
      type = lib.types.ints.between 100 1000000;
      default = 20000;
      description = "Maximum number of simultaneous connections to the ingress.";
    };

    acme = {
      email = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "ops@example.org";
        description = "E-mail address of the account at the ACME authority.";
      };
      issuer = lib.mkOption {
        type = issuer;
        default = "production";
        example = "https://ca.example.org/acme/acme/directory";
        description = ''
          Let's Encrypt's `production`, or its `staging`, which browsers do not trust and which has high rate limits:
          try new hosts there. Or the URL of another authority's directory.
        '';
      };
      dnsProvider = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "hetzner";
        description = ''
          DNS provider (of lego's list) for validation by a record (DNS-01). `null`: the ingress itself answers
          challenges (HTTP-01), whether applications run or not.
        '';
      };
      credentialFiles = lib.mkOption {
        type = lib.types.attrsOf (lib.types.strMatching "/[^ ]+");
        default = { };
        example = {
          HETZNER_API_TOKEN_FILE = "/run/secrets/hetzner-dns";
        };
        description = ''
          Files on the node with the credentials for the provider, by lego's variable: `HETZNER_API_TOKEN_FILE` for
          `hetzner`, `DO_AUTH_TOKEN_FILE` for `digitalocean`. Not paths of the store, which is world-readable.
        '';
      };
    };
  };

  config = lib.mkIf active {
    users.groups.machinist-ingress = { };
    users.users.machinist-ingress = {
      isSystemUser = true;
      group = "machinist-ingress";
    };

    environment.etc."machinist/ingress/haproxy.cfg".text = configuration {
      inherit (cfg) hosts maxconn;
      cluster = config.machinist.cluster.name;
      inherit challenge;
      peers = map urlHost cfg.peers;
      address = urlHost network.address;
      answersChallenges = usesHttp01;
      speaksIPv6 = config.networking.enableIPv6;
    };
    environment.etc."machinist/ingress/certificates.txt".text = certificates hosts;
    # For `machinist test`, which requests each of them.
    environment.etc."machinist/ingress/hosts.json".text = builtins.toJSON (
      lib.mapAttrs (_: host: {
        inherit (host) aliases https;
        paths = lib.attrNames host.locations;
      }) cfg.hosts
    );

    security.acme = lib.mkIf (acmeHosts != { }) {
      acceptTerms = true;
      certs = lib.mapAttrs (_: host: {
        inherit (cfg.acme) email dnsProvider credentialFiles;
        server = issuers.${host.issuer} or host.issuer;
        extraDomainNames = host.aliases;
        listenHTTP = lib.mkIf usesHttp01 "127.0.0.1:${toString challenge.local}";
        group = "machinist-ingress";
        reloadServices = [ "machinist-ingress.service" ];
      }) acmeHosts;
    };

    systemd.services = {
      machinist-ingress = lib.mkMerge [
        (import ./haproxy-unit.nix {
          inherit lib pkgs;
          inherit (config.machinist.mesh.haproxy) package;
          inherit (cfg) maxconn;
          configuration = "/etc/machinist/ingress/haproxy.cfg";
          directory = "machinist-ingress";
          user = "machinist-ingress";
          group = "machinist-ingress";
        })
        {
          description = "Ingress of the service mesh";
          # The ingress starts with self-signed certificates, until the authority has issued them.
          wants = certificateUnits;
          after = [ "machinist-haproxy.service" ] ++ certificateUnits;
          # With reloadIfChanged, these cause a reload.
          restartTriggers = map (name: config.environment.etc."machinist/ingress/${name}".source) [
            "certificates.txt"
            "haproxy.cfg"
          ];
        }
      ];
    }
    # In NixOS, the first host's order creates the account, which those of all others need: they
    # would never be ordered while the first host's name does not resolve to an ingress. And a
    # failed unit would revert a deploy only because of that. So these two results of an order,
    # nothing ordered and nothing renewed, do not fail the unit; it is retried all the same.
    // lib.mapAttrs' (
      name: _:
      lib.nameValuePair (order name) {
        path = lib.mkIf (byHttp01 name) (lib.mkBefore [ oneLego ]);
        serviceConfig = {
          Restart = lib.mkDefault "on-failure";
          SuccessExitStatus = lib.mkDefault "10 11";
        };
      }
    ) acmeHosts
    // lib.optionalAttrs (acmeHosts != { }) {
      machinist-ingress-orders = {
        description = "Retry of failed certificate orders";
        serviceConfig.Type = "oneshot";
        script = ''
          for order in ${lib.concatMapStringsSep " " order (lib.attrNames acmeHosts)}; do
            case $(systemctl show --property=ExecMainStatus --value "$order.service") in
              10 | 11) systemctl start --no-block "$order.service" ;;
            esac
          done
        '';
      };
    };
    # Let's Encrypt allows five failures per hour and name; NixOS' module alone waits for the next
    # day.
    systemd.timers.machinist-ingress-orders = lib.mkIf (acmeHosts != { }) {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnActiveSec = "15min";
        OnUnitInactiveSec = "15min";
      };
    };

    networking.firewall.allowedTCPPorts = [ 80 ] ++ lib.optional (hosts != { }) 443;
    machinist.firewall.tcp = lib.mkIf usesHttp01 {
      acme-challenges = {
        port = challenge.peers;
        sources = cfg.peers;
      };
    };

    assertions =
      let
        names = lib.concatLists (lib.mapAttrsToList (name: host: [ name ] ++ host.aliases) cfg.hosts);
        twice = lib.unique (lib.filter (name: lib.count (other: other == name) names > 1) names);
        bad = lib.filter (name: !hostName.check name) (lib.attrNames cfg.hosts);
        each = lib.concatLists (
          lib.mapAttrsToList (
            name: host: lib.mapAttrsToList (path: location: { inherit name path location; }) host.locations
          ) cfg.hosts
        );
        where =
          entry: "machinist.mesh.ingress.hosts.\"${entry.name}\".locations.\"${entry.path}\" on ${node.name}";
      in
      [
        {
          assertion = bad == [ ];
          message =
            "machinist.mesh.ingress.hosts on ${node.name}: ${lib.concatStringsSep ", " bad} is not a valid host name: write it in "
            + "lower case and in full, as www.example.org.";
        }
        {
          assertion = twice == [ ];
          message = "machinist.mesh.ingress.hosts on ${node.name} has ${lib.concatStringsSep ", " twice} more than once.";
        }
        {
          assertion = acmeHosts == { } || cfg.acme.email != null;
          message =
            "machinist.mesh.ingress.acme.email on ${node.name} is null: the ACME authority requires an address for the account. "
            + "Set it, or the host's `certificate`, or `https = false`.";
        }
      ]
      ++ [
        {
          assertion = !(cfg.acme.credentialFiles ? HETZNER_API_KEY_FILE);
          message =
            "machinist.mesh.ingress.acme.credentialFiles on ${node.name} has HETZNER_API_KEY_FILE, which is for an API that Hetzner "
            + "has switched off: make a token of the project that has the zone, and name its file by HETZNER_API_TOKEN_FILE.";
        }
      ]
      ++ lib.mapAttrsToList (variable: file: {
        assertion = !lib.hasPrefix builtins.storeDir file;
        message =
          "machinist.mesh.ingress.acme.credentialFiles.${variable} on ${node.name} is in the store, which everyone can read: "
          + "deliver the file to the node as a secret.";
      }) cfg.acme.credentialFiles
      ++ lib.concatMap (entry: [
        {
          assertion = lib.hasPrefix "/" entry.path && builtins.match "/[A-Za-z0-9._~/-]*" entry.path != null;
          message = "${where entry} is not a valid path: it begins with / and has letters, digits and . _ ~ - / only.";
        }
        {
          assertion = entry.location.port != null;
          message =
            "${where entry} has no port, and no application module of this node publishes ${entry.location.app}: set "
            + "`port` to the `publish.port` of its instances.";
        }
      ]) each
      ++ lib.mapAttrsToList (name: host: {
        assertion = host.certificate == null || !lib.hasPrefix builtins.storeDir host.certificate;
        message =
          "machinist.mesh.ingress.hosts.\"${name}\".certificate on ${node.name} is in the store, which everyone can read: "
          + "deliver the file to the node as a secret.";
      }) cfg.hosts;
  };
}
