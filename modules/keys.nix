# Delivery of private keys to services. The deployer stores them in one directory that only root can
# read; a service gets the keys that it names as systemd credentials, so no key ever belongs to a
# service's user.
{ config, lib, ... }:
let
  cfg = config.machinist.keys;
  files = config.lib.machinist.pki;
  node = config.machinist.node.name;

  required = lib.unique (
    cfg.root ++ lib.concatMap (unit: unit.leaves ++ unit.keyPairs) (lib.attrValues cfg.units)
  );
  inherit (config.machinist.pki) certificates keyPairs;
  missing = lib.filter (name: !certificates ? ${name} && !keyPairs ? ${name}) required;
  missingAuthorities = lib.filter (name: !config.machinist.pki.authorities ? ${name}) (
    lib.unique (lib.concatMap (unit: unit.authorities) (lib.attrValues cfg.units))
  );

  unitOptions =
    { name, config, ... }:
    {
      options = {
        leaves = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = [ "etcd-server" ];
          description = ''
            Certificates that the service uses, by their names in {option}`machinist.pki.certificates`. Each key
            becomes the credential `<leaf>.key` of the service.
          '';
        };

        keyPairs = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = [ "service-account" ];
          description = ''
            Key pairs that the service uses, by their names in {option}`machinist.pki.keyPairs`. Each private half
            becomes the credential `<name>.key` of the service.
          '';
        };

        authorities = lib.mkOption {
          type = lib.types.listOf lib.types.str;
          default = [ ];
          example = [ "etcd" ];
          description = "Authorities that the service trusts, by their names in {option}`machinist.pki.authorities`.";
        };

        files = lib.mkOption {
          type = lib.types.attrsOf lib.types.raw;
          readOnly = true;
          description = ''
            Paths for the service's own configuration: `files.<leaf>.certificate`, `files.<leaf>.key`,
            `files.<key pair>.public`, `files.<key pair>.key` and `files.authorities.<name>`.
          '';
        };
      };

      config.files =
        lib.genAttrs config.leaves (leaf: {
          certificate = files.certificate leaf;
          key = "/run/credentials/${name}.service/${leaf}.key";
        })
        // lib.genAttrs config.keyPairs (pair: {
          public = files.public pair;
          key = "/run/credentials/${name}.service/${pair}.key";
        })
        // {
          authorities = lib.genAttrs config.authorities files.authority;
        };
    };
in
{
  options.machinist.keys = {
    units = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule unitOptions);
      default = { };
      example = {
        etcd.leaves = [ "etcd-server" ];
      };
      description = "Services that use certificates, by the name of their unit without `.service`.";
    };

    root = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "etcd-healthcheck-client" ];
      description = "Certificates whose keys root's programs read directly.";
    };
  };

  config = lib.mkIf (required != [ ]) {
    systemd.tmpfiles.rules = [
      "d /var/lib/machinist 0755 root root -"
      "d /var/lib/machinist/keys 0700 root root -"
    ];

    systemd.services = lib.mkMerge [
      (lib.mapAttrs (_: unit: {
        # Not `requires`: a changed key must restart its consumer only, and a missing one stops it
        # anyway, since systemd does not start a service whose credential cannot be loaded.
        wants = [ "machinist-keys.service" ];
        after = [ "machinist-keys.service" ];
        serviceConfig.LoadCredential = map (leaf: "${leaf}.key:${files.key leaf}") (
          unit.leaves ++ unit.keyPairs
        );
      }) cfg.units)
      {
        machinist-keys = {
          description = "Check of the delivered private keys";
          wantedBy = [ "multi-user.target" ];
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
          };
          script = ''
            failed=0
            check() {
              if [ ! -f "$2" ]; then
                echo "the private key of $1 is missing: $2 (deliver it with \`machinist deploy ${node}\`)" >&2
                failed=1
              elif [ "$(stat --format=%u:%a "$2")" != 0:400 ]; then
                echo "the private key of $1 is not owned by root with mode 0400: $2" >&2
                failed=1
              fi
            }
            ${lib.concatMapStringsSep "\n" (
              leaf:
              lib.escapeShellArgs [
                "check"
                leaf
                (files.key leaf)
              ]
            ) required}
            exit "$failed"
          '';
        };
      }
    ];

    warnings = lib.optional (missing ++ missingAuthorities != [ ]) (
      "machinist.pki of ${node} is missing "
      + lib.concatStringsSep ", " (missing ++ map (name: "${name}-ca") missingAuthorities)
      + ": the services that need it will not start. Run `machinist certs gen` and `machinist generate`."
    );
  };
}
