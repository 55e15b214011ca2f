# tinc 1.1. Versions before it are not covered.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.services.tinc;

  valueString =
    value:
    if value == true then
      "yes"
    else if value == false then
      "no"
    else
      lib.generators.mkValueStringDefault { } value;
  toTincConf = lib.generators.toKeyValue {
    listsAsDuplicateKeys = true;
    mkKeyValue = lib.generators.mkKeyValueDefault { mkValueString = valueString; } "=";
  };
  value = types.oneOf [
    types.bool
    types.str
    types.int
  ];
  settings = mkOption {
    type = types.submodule { freeformType = types.attrsOf (types.either value (types.listOf value)); };
    default = { };
    description = "Lines of the file.";
  };

  address.options = {
    address = mkOption {
      type = types.str;
      description = "Address or name.";
    };
    port = mkOption {
      type = types.nullOr types.port;
      default = null;
      description = "Port.";
    };
  };

  subnet.options = {
    address = mkOption {
      type = types.str;
      description = "Address.";
    };
    prefixLength = mkOption {
      type = types.nullOr (types.ints.between 0 128);
      default = null;
      description = "Length of the prefix; null is one address.";
    };
    weight = mkOption {
      type = types.ints.unsigned;
      default = 10;
      description = "Lower ones come first.";
    };
  };

  host =
    { config, ... }:
    {
      options = {
        addresses = mkOption {
          type = types.listOf (types.submodule address);
          default = [ ];
          description = "Addresses at which the host is reached.";
        };
        subnets = mkOption {
          type = types.listOf (types.submodule subnet);
          default = [ ];
          description = "Networks behind the host.";
        };
        rsaPublicKey = mkOption {
          type = types.str;
          default = "";
          description = "Key of tinc 1.0, PEM.";
        };
        inherit settings;
      };
      config.settings = {
        Address = mkDefault (map (entry: "${entry.address} ${toString entry.port}") config.addresses);
        Subnet = mkDefault (
          map (
            entry:
            entry.address
            + lib.optionalString (entry.prefixLength != null) "/${toString entry.prefixLength}"
            + "#${toString entry.weight}"
          ) config.subnets
        );
      };
    };

  network =
    { config, ... }:
    {
      options = {
        name = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The node's name; null is its host name.";
        };
        ed25519PrivateKeyFile = mkOption {
          type = types.nullOr types.path;
          default = null;
          description = "Private key.";
        };
        debugLevel = mkOption {
          type = types.ints.between 0 5;
          default = 0;
          description = "Detail of the log.";
        };
        extraConfig = mkOption {
          type = types.lines;
          default = "";
          description = "More lines of tinc.conf.";
        };
        hosts = mkOption {
          type = types.attrsOf types.lines;
          default = { };
          description = "Text of hosts' files.";
        };
        hostSettings = mkOption {
          type = types.attrsOf (types.submodule host);
          default = { };
          description = "Hosts.";
        };
        interfaceType = mkOption {
          type = types.enum [
            "tun"
            "tap"
          ];
          default = "tun";
          description = "Kind of the interface.";
        };
        package = lib.mkPackageOption pkgs "tinc_pre" { };
        inherit settings;
      };
      config = {
        hosts = lib.mapAttrs (_: host: ''
          ${toTincConf host.settings}
          ${host.rsaPublicKey}
        '') config.hostSettings;
        settings = {
          DeviceType = mkDefault config.interfaceType;
          Name = mkDefault (if config.name == null then "$HOST" else config.name);
          Ed25519PrivateKeyFile = lib.mkIf (config.ed25519PrivateKeyFile != null) (
            mkDefault config.ed25519PrivateKeyFile
          );
        };
      };
    };

  files = lib.concatMapAttrs (
    name: data:
    lib.mapAttrs' (
      host: text:
      lib.nameValuePair "tinc/${name}/hosts/${host}" {
        mode = "0644";
        user = "tinc-${name}";
        inherit text;
      }
    ) data.hosts
    // {
      "tinc/${name}/tinc.conf" = {
        mode = "0444";
        text = ''
          ${toTincConf ({ Interface = "tinc.${name}"; } // data.settings)}
          ${data.extraConfig}
        '';
      };
    }
  ) cfg.networks;
in
{
  options.services.tinc.networks = mkOption {
    type = types.attrsOf (types.submodule network);
    default = { };
    description = "Networks, each with a daemon.";
  };

  config = lib.mkIf (cfg.networks != { }) {
    environment.etc = files;
    systemd.services = lib.mapAttrs' (
      name: data:
      lib.nameValuePair "tinc.${name}" {
        description = "Tinc Daemon - ${name}";
        documentation = [
          "info:tinc"
          "man:tincd(8)"
        ];
        wantedBy = [ "multi-user.target" ];
        path = [ data.package ];
        reloadTriggers = [ (builtins.toJSON files) ];
        serviceConfig = {
          Type = "simple";
          Restart = "always";
          RestartSec = "3";
          ExecReload = "${data.package}/bin/tinc -n ${name} reload";
          ExecStart =
            "${data.package}/bin/tincd -D -U tinc-${name} -n ${name}  --pidfile /run/tinc.${name}.pid -d "
            + toString data.debugLevel;
        };
        preStart = ''
          install -d -o tinc-${name} /etc/tinc/${name} /etc/tinc/${name}/hosts /etc/tinc/${name}/invitations
          [ -f "/etc/tinc/${name}/rsa_key.priv" ] || tinc -n ${name} generate-rsa-keys 4096
        '';
      }
    ) cfg.networks;
    users.users = lib.mapAttrs' (
      name: _:
      lib.nameValuePair "tinc-${name}" {
        description = "Tinc daemon user for ${name}";
        isSystemUser = true;
        group = "tinc-${name}";
      }
    ) cfg.networks;
    users.groups = lib.mapAttrs' (name: _: lib.nameValuePair "tinc-${name}" { }) cfg.networks;
  };
}
