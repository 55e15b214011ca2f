# security.acme: the certificates of their own making that services begin with. There is no authority to be asked here, so
# nothing is ordered: acme-order-renew-<name> is there for who depends on it or changes it, and does nothing.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.security.acme;
  option =
    type: default: description:
    mkOption { inherit type default description; };
  maybe = option (types.nullOr types.str) null;

  certificate =
    { name, ... }:
    {
      options = {
        credentialFiles = option (types.attrsOf types.path) { } "Files with the provider's credentials.";
        dnsProvider = maybe "Provider of DNS-01.";
        domain = option types.str name "The name that the certificate is for.";
        email = maybe "The account's address.";
        extraDomainNames = option (types.listOf types.str) [ ] "More names.";
        group = option types.str "acme" "Group that may read the files.";
        keyType = option types.str "ec256" "Kind of key.";
        listenHTTP = maybe "Where lego answers HTTP-01.";
        reloadServices = option (types.listOf types.str) [ ] "Services to reload for a new certificate.";
        server = option (types.nullOr types.str) "https://acme-v02.api.letsencrypt.org/directory" "The authority.";
        webroot = maybe "Directory in which HTTP-01 is answered.";
      };
    };

  base = name: data: {
    description = "Ensure certificate for ${name}";
    wantedBy = [ "multi-user.target" ];
    wants = [ "acme-order-renew-${name}.service" ];
    before = [ "acme-order-renew-${name}.service" ];
    path = [
      pkgs.coreutils
      pkgs.openssl
    ];
    script = ''
      set -eu
      cd /var/lib/acme/${name}
      if [ -e acme-success ]; then exit 0; fi
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout key.pem -out cert.pem \
        -subj ${lib.escapeShellArg "/CN=${data.domain}"} -addext ${
          lib.escapeShellArg (
            "subjectAltName=" + lib.concatMapStringsSep "," (name: "DNS:${name}") ([ data.domain ] ++ data.extraDomainNames)
          )
        }
      cat key.pem cert.pem >full.pem
      chmod -R u=rwX,g=rX,o= .
      chown -R acme:${data.group} .
    '';
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      StateDirectory = "acme/${name}";
      StateDirectoryMode = "0750";
      UMask = "0027";
    };
  };
  orderRenew = name: {
    description = "Order (and renew) ACME certificate for ${name}";
    after = [ "acme-${name}.service" ];
    script = "echo 'nixos-lite orders no certificates'";
    serviceConfig.Type = "oneshot";
  };
in
{
  options.security.acme = {
    acceptTerms = option types.bool false "Whether the authority's terms of service are accepted.";
    certs = option (types.attrsOf (types.submodule certificate)) { } "Certificates by name.";
  };

  config = lib.mkIf (cfg.certs != { }) {
    users.groups.acme = { };
    users.users.acme = {
      isSystemUser = true;
      group = "acme";
      home = "/var/lib/acme";
    };

    systemd.services =
      lib.mapAttrs' (name: data: lib.nameValuePair "acme-${name}" (base name data)) cfg.certs
      // lib.mapAttrs' (name: _: lib.nameValuePair "acme-order-renew-${name}" (orderRenew name)) cfg.certs;

    assertions = [
      {
        assertion = cfg.acceptTerms;
        message = "security.acme.acceptTerms is false: the authority's terms of service must be accepted.";
      }
    ]
    ++ lib.concatLists (
      lib.mapAttrsToList (name: data: [
        {
          assertion = lib.count (way: way != null) [ data.dnsProvider data.listenHTTP data.webroot ] == 1;
          message = "security.acme.certs.${name} needs exactly one of dnsProvider, listenHTTP and webroot.";
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
      ]) cfg.certs
    );
  };
}
