# PostgreSQL: a single primary, by NixOS's own module.
{
  config,
  lib,
  ...
}:
let
  cfg = config.machinist.apps.postgresql;
  inherit (config.machinist) network overlay;
in
{
  config = {
    machinist.apps.postgresql = {
      group = lib.mkDefault "services";
      port = lib.mkDefault 5432;
      unit = "postgresql";
      check.command = [
        "${config.services.postgresql.package}/bin/pg_isready"
        "--quiet"
        "--host=${cfg.address}"
        "--port=${toString cfg.port}"
      ];
      check.timeoutMs = lib.mkDefault 2000;
      env.prefix = "POSTGRESQL";
      env.protocol = "postgresql";
      drainSeconds = lib.mkDefault 5;
      startSeconds = lib.mkDefault 120;
    };

    services.postgresql = lib.mkIf cfg.enable {
      enable = true;
      settings = {
        inherit (cfg) port;
        # Overrides "localhost" or "*" of NixOS' services.postgresql.enableTCPIP; the port on
        # 127.0.0.1 is haproxy's.
        listen_addresses = lib.mkOverride 90 cfg.address;
      };
      # Clients connect through their node's haproxy, with a password.
      authentication = lib.concatMapStrings (range: "host all all ${range} scram-sha-256\n") (
        [ network.nodes ]
        ++ lib.optional (network.nodes6 != null) network.nodes6
        ++ lib.optional (overlay.backend != null) overlay.network
      );
    };
  };
}
