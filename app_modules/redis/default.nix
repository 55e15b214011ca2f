# Redis: one instance with its data on disk. Data that must survive the loss of its machine need a
# replica elsewhere, which this module does not set up.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.apps.redis;
in
{
  options.machinist.apps.redis = {
    package = lib.mkPackageOption pkgs "redis" { };
    settings = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        maxmemory = "512mb";
        maxmemory-policy = "allkeys-lru";
      };
      description = "Directives of {file}`redis.conf`. It is in the store: no passwords in it.";
    };
  };

  config.machinist.apps.redis = {
    group = lib.mkDefault "services";
    port = lib.mkDefault 6379;
    # Two instances would be two sets of data.
    strategy = "recreate";
    env.prefix = "REDIS";
    env.protocol = "redis";
    drainSeconds = lib.mkDefault 5;

    settings = lib.mapAttrs (_: lib.mkDefault) {
      appendonly = "yes";
      dir = "/var/lib/redis";
      # The firewall opens the port to the cluster's nodes only; with a password, they need that too.
      protected-mode = "no";
    };

    service =
      { slot, ... }:
      let
        directives = cfg.settings // {
          bind = slot.address;
          port = toString slot.port;
          supervised = "systemd";
        };
        conf = pkgs.writeText "redis.conf" (
          lib.concatStrings (lib.mapAttrsToList (name: value: "${name} ${value}\n") directives)
          # A file with the line `requirepass …`.
          + lib.optionalString (cfg.secrets ? auth) "include /run/credentials/${slot.unit}.service/auth\n"
        );
      in
      {
        serviceConfig = {
          Type = "notify";
          ExecStart = "${cfg.package}/bin/redis-server ${conf}";
          User = "redis";
          StateDirectory = "redis";
          StateDirectoryMode = "0700";
        };
      };
  };
}
