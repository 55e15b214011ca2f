# services.dockerRegistry, a registry of images for containers. Without its cache in Redis and its garbage collection.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.dockerRegistry;
  option =
    type: default: description:
    mkOption { inherit type default description; };
  settings = {
    version = "0.1";
    log.fields.service = "registry";
    health.storagedriver = {
      enabled = true;
      interval = "10s";
      threshold = 3;
    };
    http = {
      addr = "${cfg.listenAddress}:${toString cfg.port}";
      headers.X-Content-Type-Options = [ "nosniff" ];
    };
    storage = {
      cache.blobdescriptor = "inmemory";
      delete.enabled = cfg.enableDelete;
    }
    // lib.optionalAttrs (cfg.storagePath != null) { filesystem.rootdirectory = cfg.storagePath; };
  };
in
{
  options.services.dockerRegistry = {
    enable = lib.mkEnableOption "Docker Registry";
    package = lib.mkPackageOption pkgs "distribution" { };
    configFile = mkOption {
      type = types.path;
      default = pkgs.writeText "docker-registry-config.yml" (builtins.toJSON (lib.recursiveUpdate settings cfg.extraConfig));
      description = "The configuration.";
    };
    enableDelete = option types.bool false "Whether images can be deleted.";
    extraConfig = option types.attrs { } "More of the configuration.";
    listenAddress = option types.str "127.0.0.1" "Address that it listens on.";
    openFirewall = option types.bool false "Whether its port is open to everyone.";
    port = option types.port 5000 "Port that it listens on.";
    storagePath = option (types.nullOr types.path) "/var/lib/docker-registry" "Where images are.";
  };

  config = lib.mkIf cfg.enable {
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ cfg.port ];
    users.groups.docker-registry = { };
    users.users.docker-registry = {
      isSystemUser = true;
      group = "docker-registry";
    }
    // lib.optionalAttrs (cfg.storagePath != null) {
      createHome = true;
      home = cfg.storagePath;
    };
    systemd.services.docker-registry = {
      description = "Docker Container Registry";
      after = [ "network.target" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        AmbientCapabilities = lib.mkIf (cfg.port < 1024) "cap_net_bind_service";
        ExecStart = "${lib.getExe cfg.package} serve ${cfg.configFile}";
        User = "docker-registry";
        WorkingDirectory = cfg.storagePath;
      };
    };
  };
}
