# Identity of this node: its name, roles and hardware platform.
{ config, lib, ... }:
let
  cfg = config.machinist.node;
in
{
  options.machinist.node = {
    name = lib.mkOption {
      type = lib.types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
      example = "balthazar";
      description = "Name of the node, an RFC 1123 label. It is the host name and the name in certificates.";
    };

    roles = lib.mkOption {
      type = lib.types.listOf (
        lib.types.enum [
          "cache"
          "control-plane"
          "etcd"
          "ingress"
          "registry"
          "service"
          "worker"
        ]
      );
      default = [ ];
      description = "Tasks of the node in the cluster.";
    };

    system = lib.mkOption {
      type = lib.types.enum [
        "x86_64-linux"
        "aarch64-linux"
      ];
      description = "Platform that the node's closure is built for.";
    };

    apps = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?");
      default = [ ];
      example = [ "web" ];
      description = "Applications that the node runs: names of folders of {file}`app_modules/`.";
    };

    labels = lib.mkOption {
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = {
        zone = "a";
      };
      description = "Labels of the node, by which commands and orchestrators select it.";
    };

    disk = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "/dev/.+");
      default = null;
      example = "/dev/disk/by-id/nvme-1";
      description = ''
        Disk that `machinist install` partitions and the node boots from. `null` leaves disks and boot loader to
        `nodes/<name>.nix` or the node's `hardware-configuration.nix`.
      '';
    };

    provider = lib.mkOption {
      type = lib.types.enum [
        "digitalocean"
        "hetzner"
        "sandbox"
        "self-hosted"
      ];
      default = "self-hosted";
      description = "Origin of the machine.";
    };
  };

  config = {
    networking.hostName = cfg.name;
    networking.domain = lib.mkDefault config.machinist.cluster.domain;

    # Stronger than the mkDefault of a hardware-configuration.nix: the closure is planned for this
    # platform.
    nixpkgs.hostPlatform = cfg.system;

    system.stateVersion = lib.mkDefault config.machinist.cluster.release;
  };
}
