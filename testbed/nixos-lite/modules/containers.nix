# virtualisation.containers: configuration of podman and skopeo in /etc/containers.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.virtualisation.containers;
  toml = pkgs.formats.toml { };
  names =
    default: description:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
    };
  # The type of skopeo's policy, which NixOS uses as well.
  anything = {
    default = [ { type = "insecureAcceptAnything"; } ];
    transports.docker-daemon."" = [ { type = "insecureAcceptAnything"; } ];
  };
in
{
  options.virtualisation.containers = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Creates the files.";
    };
    containersConf.settings = mkOption {
      inherit (toml) type;
      default = { };
      description = "containers.conf.";
    };
    policy = mkOption {
      type = types.attrs;
      default = { };
      description = "policy.json: which images are taken. Nothing said: all.";
    };
    registries = {
      block = names [ ] "Registries that nothing is fetched from.";
      insecure = names [ ] "Registries without TLS.";
      search = names [
        "docker.io"
        "quay.io"
      ] "Registries in which a short name is looked for.";
    };
    storage.settings = mkOption {
      inherit (toml) type;
      description = "storage.conf.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc = {
      "containers/containers.conf".source = toml.generate "containers.conf" cfg.containersConf.settings;
      "containers/policy.json".text = builtins.toJSON (if cfg.policy == { } then anything else cfg.policy);
      "containers/registries.conf".source = toml.generate "registries.conf" {
        registries = lib.mapAttrs (_: registries: { inherit registries; }) cfg.registries;
      };
      "containers/storage.conf".source = toml.generate "storage.conf" cfg.storage.settings;
    };
    virtualisation.containers.storage.settings.storage = {
      driver = lib.mkDefault "overlay";
      graphroot = lib.mkDefault "/var/lib/containers/storage";
      runroot = lib.mkDefault "/run/containers/storage";
    };
  };
}
