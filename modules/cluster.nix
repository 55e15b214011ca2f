# Facts that are the same on every node of the cluster.
{ config, lib, ... }:
let
  inherit (config.lib.machinist.types) ipAddress;
in
{
  options.machinist.cluster = {
    name = lib.mkOption {
      type = lib.types.str;
      example = "magi";
      description = "Name of the cluster.";
    };

    domain = lib.mkOption {
      type = lib.types.str;
      example = "magi.internal";
      description = "DNS domain of the nodes: a node is reachable as `<name>.<domain>`.";
    };

    release = lib.mkOption {
      type = lib.types.strMatching "[0-9]{2}[.](05|11)";
      example = "26.05";
      description = ''
        NixOS release of the cluster. It becomes the default of {option}`system.stateVersion`, so a node that was
        installed with an earlier release pins that option in `nodes/<name>.nix`.
      '';
    };

    apps = lib.mkOption {
      type = lib.types.attrsOf (lib.types.attrsOf ipAddress);
      default = { };
      example = {
        mariadb = {
          db1 = "10.13.13.5";
          db2 = "10.13.13.6";
        };
      };
      description = "Machines of each application that this node runs, with their addresses.";
    };
  };
}
