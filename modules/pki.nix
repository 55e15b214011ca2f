# The certificates of this node: public parts from the repository, private keys by their path on the
# node.
{ config, lib, ... }:
let
  cfg = config.machinist.pki;
  inherit (config.lib.machinist.types) secretPath;

  # Each file is copied to the store by itself, so that a unit changes with its certificate and not
  # with every commit.
  storeFile = name: path: if lib.isPath path then builtins.path { inherit name path; } else path;
in
{
  options.machinist.pki = {
    authorities = lib.mkOption {
      type = lib.types.attrsOf lib.types.path;
      default = { };
      apply = lib.mapAttrs (name: storeFile "${name}-ca.pem");
      example = lib.literalExpression "{ etcd = ../certs/authorities/etcd.pem; }";
      description = ''
        Certificates of the authorities that the node trusts, PEM. While an authority is rotated its file holds two,
        and both are accepted.
      '';
    };

    certificates = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule (
          { name, ... }:
          {
            options = {
              certificate = lib.mkOption {
                type = lib.types.path;
                apply = storeFile "${name}.pem";
                description = "Certificate, PEM, leaf first.";
              };

              key = lib.mkOption {
                type = secretPath;
                example = "/var/lib/machinist/keys/etcd-server-0123456789abcdef.key";
                description = ''
                  Private key on the node. The name contains the key's digest, so that an older generation still finds
                  the key that it was built for.
                '';
              };
            };
          }
        )
      );
      default = { };
      example = lib.literalExpression ''
        {
          etcd-server = {
            certificate = ../certs/nodes/balthazar/etcd-server.pem;
            key = "/var/lib/machinist/keys/etcd-server-0123456789abcdef.key";
          };
        }
      '';
      description = "Certificates that were issued to this node.";
    };

    keyPairs = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule (
          { name, ... }:
          {
            options = {
              public = lib.mkOption {
                type = lib.types.path;
                apply = storeFile "${name}.pub";
                description = "Public half, PEM. While the pair is rotated, two: the first is the one of {option}`key`.";
              };

              key = lib.mkOption {
                type = secretPath;
                example = "/var/lib/machinist/keys/service-account-0123456789abcdef.key";
                description = "Private half on the node, named like the keys of certificates.";
              };
            };
          }
        )
      );
      default = { };
      example = lib.literalExpression ''
        {
          service-account = {
            public = ../certs/shared/service-account.pub;
            key = "/var/lib/machinist/keys/service-account-0123456789abcdef.key";
          };
        }
      '';
      description = "Key pairs without a certificate that this node shares with others.";
    };

    hostCertificate = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      apply = storeFile "ssh_host_ed25519_key-cert.pub";
      example = lib.literalExpression "../certs/nodes/balthazar/ssh_host_ed25519_key-cert.pub";
      description = ''
        Certificate of the SSH host key, signed by the cluster's SSH authority. sshd presents it besides the key itself,
        and ignores one of another key.
      '';
    };
  };

  # For users and tools that inspect a node; the services use the store paths.
  config.environment.etc =
    let
      link = name: source: lib.nameValuePair "machinist/pki/${name}.pem" { inherit source; };
    in
    lib.mapAttrs' (name: link "${name}-ca") cfg.authorities
    // lib.mapAttrs' (name: certificate: link name certificate.certificate) cfg.certificates
    // lib.mapAttrs' (
      name: pair: lib.nameValuePair "machinist/pki/${name}.pub" { source = pair.public; }
    ) cfg.keyPairs
    // lib.optionalAttrs (cfg.hostCertificate != null) {
      "machinist/pki/ssh_host_ed25519_key-cert.pub".source = cfg.hostCertificate;
    };
}
