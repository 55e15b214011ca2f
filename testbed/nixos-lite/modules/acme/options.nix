# Options of a certificate.
{ lib }:
let
  inherit (lib) mkOption types;
  text = types.str;
  maybe = types.nullOr text;
  list = types.listOf text;
  of = type: default: description: { inherit type default description; };

  # Options with defaults for all certificates, in `security.acme.defaults`.
  shared = {
    credentialFiles = of (types.attrsOf types.path) { } "Files with the provider's credentials, by lego's variable.";
    dnsPropagationCheck = of types.bool true "Whether lego waits until the record of DNS-01 is seen.";
    dnsProvider = of maybe null "Provider of DNS-01.";
    dnsResolver = of maybe null "Who is asked whether the record is there, host:port.";
    email = of maybe null "The account's address.";
    enableDebugLogs = of types.bool true "Whether the journal has each command.";
    environmentFile = of (types.nullOr types.path) null "File with variables of the provider.";
    extraLegoFlags = of list [ ] "More arguments for lego.";
    extraLegoRenewFlags = of list [ ] "More arguments for `lego renew`.";
    extraLegoRunFlags = of list [ ] "More arguments for `lego run`.";
    group = of text "acme" "Group that may read the files.";
    keyType = of text "ec256" "Kind of key.";
    listenHTTP = of maybe null "Where lego answers HTTP-01.";
    ocspMustStaple = of types.bool false "Whether the certificate asks for a stapled OCSP answer.";
    postRun = of types.lines "" "Commands to run as root once there is a new certificate.";
    profile = of maybe null "The authority's profile.";
    reloadServices = of list [ ] "Services to reload for a new certificate.";
    renewInterval = of text "daily" "When to look whether the certificate is to be renewed.";
    renewJitter = of text "24h" "How much later at most.";
    server = of maybe "https://acme-v02.api.letsencrypt.org/directory" "The authority.";
    validMinDays = of (types.nullOr types.int) null "How many days a certificate must still be valid not to be renewed.";
    webroot = of maybe null "Directory in which HTTP-01 is answered.";
  };
in
{
  # inheritable NULL: the defaults themselves. inheritable DEFAULTS: a certificate, which inherits
  # them.
  inheritable =
    defaults:
    { config, ... }:
    {
      options = lib.mapAttrs (
        name: option:
        mkOption (
          option
          // lib.optionalAttrs (defaults != null && name != "validMinDays") {
            default = if config.inheritDefaults then defaults.${name} else option.default;
            defaultText = lib.literalExpression "config.security.acme.defaults.${name}";
          }
        )
      ) shared;
    };

  certificate =
    { name, ... }:
    {
      options = lib.mapAttrs (_: mkOption) {
        csr = of maybe null "Path of a signing request.";
        csrKey = of maybe null "Path of its key.";
        directory = of text "/var/lib/acme/${name}" "Where the files are." // {
          readOnly = true;
        };
        domain = of text name "The name that the certificate is for.";
        extraDomainNames = of list [ ] "More names.";
        inheritDefaults = of types.bool true "Whether `security.acme.defaults` hold for it.";
        s3Bucket = of maybe null "Bucket in which HTTP-01 is answered.";
      };
    };
}
