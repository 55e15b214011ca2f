# Paths of a certificate's files on this node. A certificate that does not exist yet also has paths,
# to missing files: its consumer then fails to start, instead of starting without TLS.
{ config }:
let
  cfg = config.machinist.pki;
  absent = "/var/lib/machinist/absent";
in
{
  authority = name: cfg.authorities.${name} or "${absent}/${name}-ca.pem";
  certificate = leaf: cfg.certificates.${leaf}.certificate or "${absent}/${leaf}.pem";
  key = leaf: cfg.certificates.${leaf}.key or cfg.keyPairs.${leaf}.key or "${absent}/${leaf}.key";
  public = name: cfg.keyPairs.${name}.public or "${absent}/${name}.pub";
}
