# cert-manager, installed by k3s' own Helm controller, with two issuers: use `letsencrypt-staging`
# for tests, since certificates of `letsencrypt-production` are limited in number (50 a week per
# domain).
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
      # YAML is a superset of JSON.
      valuesContent = builtins.toJSON { crds.enabled = true; };
    };
  };
  # A separate account per issuer: with one secret for both, the second authority would refuse the
  # first one's key.
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
      # A separate file, which k3s retries until the kind ClusterIssuer exists.
      cluster-issuers.content = [
        (issuer "staging" "https://acme-staging-v02.api.letsencrypt.org/directory")
        (issuer "production" "https://acme-v02.api.letsencrypt.org/directory")
      ];
    };
  };
}
