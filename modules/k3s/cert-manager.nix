# cert-manager by k3s' own Helm controller, and two issuers beside each other: certificates of `letsencrypt-staging` are for trying
# out, since those of `letsencrypt-production` are limited in number (50 a week for a domain).
{ config, lib, ... }:
let
  cfg = config.machinist.k3s.certManager;
  isServer = config.machinist.k3s.enable && config.machinist.k3s.role == "server";

  chart = {
    apiVersion = "helm.cattle.io/v1";
    kind = "HelmChart";
    metadata = {
      name = "cert-manager";
      namespace = "kube-system";
    };
    spec = {
      repo = "https://charts.jetstack.io";
      chart = "cert-manager";
      inherit (cfg) version;
      targetNamespace = "cert-manager";
      createNamespace = true;
      # YAML has JSON in it.
      valuesContent = builtins.toJSON { crds.enabled = true; };
    };
  };
  # An account of its own each: with one secret for both, the second would be refused with the first one's key.
  issuer = name: server: {
    apiVersion = "cert-manager.io/v1";
    kind = "ClusterIssuer";
    metadata.name = "letsencrypt-${name}";
    spec.acme = {
      inherit (cfg) email;
      inherit server;
      privateKeySecretRef.name = "letsencrypt-${name}-account-key";
      solvers = [ { http01.ingress.ingressClassName = cfg.ingressClass; } ];
    };
  };
in
{
  options.machinist.k3s.certManager = {
    enable = lib.mkEnableOption "cert-manager with ClusterIssuers for Let's Encrypt. The same on all servers";

    email = lib.mkOption {
      type = lib.types.strMatching ".+@.+";
      example = "ops@magi.dev";
      description = "E-mail address for messages from Let's Encrypt, such as before a certificate expires.";
    };

    version = lib.mkOption {
      type = lib.types.str;
      default = "v1.21.1";
      description = "Version of cert-manager's Helm chart.";
    };

    ingressClass = lib.mkOption {
      type = lib.types.str;
      default = "traefik";
      description = "Class of the ingress controller that answers the challenges (HTTP-01).";
    };
  };

  config = lib.mkIf (isServer && cfg.enable) {
    services.k3s.manifests = {
      cert-manager.content = chart;
      # A file of its own: k3s tries it again until the kind ClusterIssuer is there.
      cluster-issuers.content = [
        (issuer "staging" "https://acme-staging-v02.api.letsencrypt.org/directory")
        (issuer "production" "https://acme-v02.api.letsencrypt.org/directory")
      ];
    };
  };
}
