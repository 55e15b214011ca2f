# systemd.network: the networks and devices of systemd-networkd, written verbatim.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.systemd.network;
  systemdOption = types.mkOptionType {
    name = "systemd option";
    merge = lib.mergeEqualOption;
  };
  section =
    description:
    mkOption {
      type = types.attrsOf systemdOption;
      default = { };
      inherit description;
    };
  sections =
    description:
    mkOption {
      type = types.listOf (types.attrsOf systemdOption);
      default = [ ];
      inherit description;
    };
  strings =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
  network =
    { ... }:
    {
      options = {
        enable = mkOption {
          type = types.bool;
          default = true;
          description = "Writes the file.";
        };
        name = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The interface's name.";
        };
        DHCP = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Use of DHCP.";
        };
        address = strings "Addresses.";
        gateway = strings "Gateways.";
        dns = strings "Name servers.";
        addresses = sections "[Address] sections.";
        routes = sections "[Route] sections.";
        matchConfig = section "The [Match] section.";
        linkConfig = section "The [Link] section.";
        networkConfig = section "The [Network] section.";
      };
    };
  value = v: if builtins.isBool v then lib.boolToString v else toString v;
  keys = attrs: lib.concatStrings (lib.mapAttrsToList (k: v: lib.concatMapStrings (x: "${k}=${value x}\n") (lib.toList v)) attrs);
  titled = title: attrs: lib.optionalString (attrs != { }) "[${title}]\n${keys attrs}\n";
  text =
    n:
    titled "Match" (n.matchConfig // lib.optionalAttrs (n.name != null) { Name = n.name; })
    + titled "Link" n.linkConfig
    + "[Network]\n"
    + keys (n.networkConfig // lib.optionalAttrs (n.DHCP != null) { inherit (n) DHCP; })
    # An empty list writes nothing.
    + keys { Address = n.address; }
    + keys { Gateway = n.gateway; }
    + keys { DNS = n.dns; }
    + "\n"
    + lib.concatMapStrings (titled "Address") n.addresses
    + lib.concatMapStrings (titled "Route") n.routes;
in
{
  options.systemd.network = {
    enable = mkOption {
      type = types.bool;
      default = false;
      description = "Configures interfaces with systemd-networkd.";
    };
    networks = mkOption {
      type = types.attrsOf (types.submodule network);
      default = { };
      description = "Networks.";
    };
    wait-online.enable = mkOption {
      type = types.bool;
      default = true;
      description = "Makes network-online.target wait for it.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc = lib.mapAttrs' (name: n: lib.nameValuePair "systemd/network/${name}.network" { text = text n; }) (
      lib.filterAttrs (_: n: n.enable) cfg.networks
    );
    systemd.services.systemd-networkd = {
      wantedBy = [ "multi-user.target" ];
      stopIfChanged = false;
      restartTriggers = map (name: config.environment.etc."systemd/network/${name}.network".source) (
        lib.attrNames (lib.filterAttrs (_: n: n.enable) cfg.networks)
      );
    };
  };
}
