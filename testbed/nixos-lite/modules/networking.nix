{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.networking;

  strings =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
  gateway = types.nullOr (
    types.coercedTo types.str (address: { inherit address; }) (
      types.submodule {
        options = {
          address = mkOption {
            type = types.str;
            description = "The gateway's address.";
          };
          interface = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The interface to the gateway.";
          };
          metric = mkOption {
            type = types.nullOr types.int;
            default = null;
            description = "The metric of the route.";
          };
          source = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The source address.";
          };
        };
      }
    )
  );
  gatewayOption =
    description:
    mkOption {
      type = gateway;
      default = null;
      inherit description;
    };
  resolvConf =
    lib.optionalString (cfg.search != [ ]) "search ${toString cfg.search}\n"
    + lib.optionalString (cfg.domain != null && cfg.search == [ ]) "search ${cfg.domain}\n"
    + lib.concatMapStrings (s: "nameserver ${s}\n") cfg.nameservers;
in
{
  options.networking = {
    hostName = mkOption {
      # As in NixOS: empty, or a label of at most 63 characters.
      type = types.strMatching "^$|^[[:alnum:]]([[:alnum:]_-]{0,61}[[:alnum:]])?$";
      default = config.system.nixos.distroId;
      defaultText = literalExpression "config.system.nixos.distroId";
      description = "The machine's name.";
    };
    domain = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The machine's domain.";
    };
    fqdn = mkOption {
      type = types.str;
      readOnly = options.networking.fqdnOrHostName.readOnly;
      default =
        if cfg.hostName != "" && cfg.domain != null then
          "${cfg.hostName}.${cfg.domain}"
        else
          throw "The FQDN is required but cannot be determined from `networking.hostName` and `networking.domain`. Please ensure these options are set properly or set `networking.fqdn` directly.";
      defaultText = literalExpression ''"''${networking.hostName}.''${networking.domain}"'';
      description = "The full name of the machine.";
    };
    fqdnOrHostName = mkOption {
      type = types.str;
      readOnly = true;
      default = if cfg.domain == null && options.networking.fqdn.highestPrio >= (lib.mkOptionDefault { }).priority then cfg.hostName else cfg.fqdn;
      defaultText = lib.literalMD "the full name, or the host name where there is no domain";
      description = "The full name if there is one, else the host name.";
    };
    hostId = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The host id, eight hexadecimal digits.";
    };
    enableIPv6 = mkOption {
      type = types.bool;
      default = true;
      description = "Enables IPv6.";
    };
    useDHCP = mkOption {
      type = types.bool;
      default = true;
      description = "Uses DHCP on interfaces without addresses; nixos-lite runs no DHCP client.";
    };
    useNetworkd = mkOption {
      type = types.bool;
      default = false;
      description = "Configures interfaces with systemd-networkd instead of scripts.";
    };
    nameservers = strings "Name servers.";
    search = strings "Search domains.";
    timeServers = mkOption {
      type = types.listOf types.str;
      default = map (n: "${toString n}.nixos.pool.ntp.org") (lib.range 0 3);
      description = "NTP servers.";
    };
    hosts = mkOption {
      type = types.attrsOf (types.listOf types.str);
      description = "Names by address, for /etc/hosts.";
    };
    extraHosts = mkOption {
      type = types.lines;
      default = "";
      description = "More lines of /etc/hosts.";
    };
    defaultGateway = gatewayOption "The default gateway.";
    defaultGateway6 = gatewayOption "The default gateway of IPv6.";
    defaultGatewayWindowSize = mkOption {
      type = types.nullOr types.int;
      default = null;
      description = "The window size of the default route.";
    };
    dhcpcd.denyInterfaces = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Interfaces that dhcpcd leaves alone.";
    };
    dhcpcd.enable = mkOption {
      type = types.bool;
      default = true;
      description = "Uses dhcpcd for DHCP; nixos-lite runs no DHCP client.";
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.hostId == null || builtins.match "[0-9a-fA-F]{8}" cfg.hostId != null;
        message = "Invalid value given to the networking.hostId option.";
      }
      {
        assertion =
          !(lib.any (lib.elem "localhost") (lib.attrValues (builtins.removeAttrs cfg.hosts [ "127.0.0.1" "::1" ])));
        message = ''
          `networking.hosts` maps "localhost" to something other than "127.0.0.1"
          or "::1". This will break some applications. Please use
          `networking.extraHosts` if you really want to add such a mapping.
        '';
      }
    ];

    networking.hosts."127.0.0.2" =
      lib.optional (cfg.hostName != "" && cfg.domain != null) "${cfg.hostName}.${cfg.domain}"
      ++ lib.optional (cfg.hostName != "") cfg.hostName;

    environment.etc = {
      hosts.text = ''
        127.0.0.1 localhost
        ${lib.optionalString cfg.enableIPv6 "::1 localhost"}
        ${lib.concatStrings (
          lib.mapAttrsToList (ip: names: "${ip} ${toString names}\n") (lib.filterAttrs (_: names: names != [ ]) cfg.hosts)
        )}${cfg.extraHosts}
      '';
      "host.conf".text = "multi on\n";
    }
    // lib.optionalAttrs (cfg.hostName != "") { hostname.text = cfg.hostName + "\n"; }
    // lib.optionalAttrs (cfg.nameservers != [ ] && !config.services.resolved.enable) { "resolv.conf".text = resolvConf; };

    system.activationScripts.hostname = lib.mkIf (cfg.hostName != "") {
      deps = [ "etc" ];
      text = ''hostname ${lib.escapeShellArg cfg.hostName}'';
    };
  };
}
