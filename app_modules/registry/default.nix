# An image registry for the cluster's containers (CNCF distribution), by NixOS's own module. Each
# node reaches it at 127.0.0.1, so an image has the same name everywhere:
# localhost:5000/web@sha256:….
{
  config,
  lib,
  ...
}:
let
  cfg = config.machinist.apps.registry;
  inherit (config.lib.machinist.types) urlHost;
  host = "localhost:${toString cfg.publish.port}";
  fetches =
    other: other.enable && other.container != null && lib.hasPrefix "${host}/" other.container.image;
in
{
  config = {
    machinist.apps.registry = {
      group = lib.mkDefault "services";
      port = lib.mkDefault 5000;
      unit = "docker-registry";
      # Served with and without a password.
      check.http = lib.mkDefault "/";
      env.prefix = "REGISTRY";
      env.protocol = "http";
      # A node that fetches an image during a restart retries.
      drainSeconds = lib.mkDefault 10;
    };

    services.dockerRegistry = lib.mkIf cfg.enable {
      enable = true;
      # The port on 127.0.0.1 is haproxy's.
      listenAddress = urlHost cfg.address;
      inherit (cfg) port;
      extraConfig = lib.mkIf (cfg.secrets ? htpasswd) {
        auth.htpasswd = {
          realm = "registry";
          path = "/run/credentials/docker-registry.service/htpasswd";
        };
      };
    };

    # Plain HTTP up to the node's own haproxy. Fetched data are verified by their digest.
    virtualisation.containers = lib.mkIf (lib.any fetches (lib.attrValues config.machinist.apps)) {
      registries.insecure = [ host ];
    };
  };
}
