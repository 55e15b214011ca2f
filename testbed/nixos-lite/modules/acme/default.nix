# security.acme: certificates that lego orders from an ACME authority, and the self-signed ones that
# services start with. Units, users, directories, files and exit statuses are those of NixOS'
# module.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.security.acme;
  inherit (import ./options.nix { inherit lib; }) inheritable certificate;
  units = import ./units.nix { inherit lib pkgs cfg; };

  each = f: lib.concatLists (lib.mapAttrsToList f cfg.certs);
  webroots = lib.unique (lib.remove null (map (data: data.webroot) (lib.attrValues cfg.certs)));
in
{
  options.security.acme = {
    acceptTerms = mkOption {
      type = types.bool;
      default = false;
      description = "Accepts the authority's terms of service.";
    };
    certs = mkOption {
      type = types.attrsOf (
        types.submodule [
          (inheritable cfg.defaults)
          certificate
        ]
      );
      default = { };
      description = "Certificates by name.";
    };
    defaults = mkOption {
      type = types.submodule (inheritable null);
      default = { };
      description = "Defaults of all certificates.";
    };
    maxConcurrentRenewals = mkOption {
      type = types.int;
      default = 5;
      description = "Number of certificates that are created or ordered simultaneously; 0: unlimited.";
    };
    useRoot = mkOption {
      type = types.bool;
      default = false;
      description = "Runs lego as root.";
    };
  };

  config = lib.mkIf (cfg.certs != { }) {
    users.groups.acme = { };
    users.users.acme = {
      isSystemUser = true;
      group = "acme";
      home = "/var/lib/acme";
      homeMode = "755";
    };

    systemd = {
      services = {
        acme-setup = units.setup;
      }
      // lib.mapAttrs' (name: data: lib.nameValuePair "acme-${name}" (units.base name data)) cfg.certs
      // lib.mapAttrs' (name: data: lib.nameValuePair "acme-order-renew-${name}" (units.orderRenew name data)) cfg.certs;
      targets = units.accounts;
      timers = lib.mapAttrs' (name: data: lib.nameValuePair "acme-renew-${name}" (units.timer name data)) cfg.certs;
      tmpfiles.settings."10-acme" = lib.genAttrs (lib.concatMap (dir: [
        dir
        "${dir}/.well-known"
        "${dir}/.well-known/acme-challenge"
      ]) webroots) (_: {
        d = {
          inherit (units) user;
          group = "acme";
          mode = "0755";
        };
      });
    };

    assertions = [
      {
        assertion = cfg.acceptTerms;
        message = "security.acme.acceptTerms is false: the authority's terms of service must be accepted.";
      }
    ]
    ++ each (
      name: data: [
        {
          assertion = lib.count (way: way != null) [ data.dnsProvider data.listenHTTP data.s3Bucket data.webroot ] == 1;
          message = "security.acme.certs.${name} needs exactly one of dnsProvider, listenHTTP, s3Bucket and webroot.";
        }
        {
          assertion = !lib.hasInfix "*" name;
          message = "security.acme.certs.${name}: a * belongs into `domain`, not into the name.";
        }
        {
          assertion = lib.all (variable: lib.hasSuffix "_FILE" variable || lib.hasSuffix "_PATH" variable) (
            lib.attrNames data.credentialFiles
          );
          message = "security.acme.certs.${name}.credentialFiles takes variables that end in _FILE or _PATH.";
        }
        {
          assertion = (data.csr == null) == (data.csrKey == null);
          message = "security.acme.certs.${name} needs both of csr and csrKey, or none.";
        }
      ]
    );
  };
}
