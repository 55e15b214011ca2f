{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption optionalString types;
  cfg = config.networking.firewall;

  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  lines =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };
  ports =
    description:
    mkOption {
      type = types.listOf types.port;
      default = [ ];
      apply = list: lib.unique (builtins.sort builtins.lessThan list);
      inherit description;
    };
  ranges =
    description:
    mkOption {
      type = types.listOf (types.attrsOf types.port);
      default = [ ];
      inherit description;
    };
  common = {
    allowedTCPPorts = ports "Open TCP ports.";
    allowedTCPPortRanges = ranges "Open ranges of TCP ports.";
    allowedUDPPorts = ports "Open UDP ports.";
    allowedUDPPortRanges = ranges "Open ranges of UDP ports.";
  };
  perInterface = types.attrsOf (types.submodule [ { options = common; } ]);

  portSet =
    list: ranges: lib.concatStringsSep ", " (map toString list ++ map (r: "${toString r.from}-${toString r.to}") ranges);
  trusted = lib.concatMapStringsSep ", " (x: ''"${x}"'') cfg.trustedInterfaces;

  opened =
    iface: c:
    let
      from = optionalString (iface != "default") "iifname ${iface}";
      tcp = portSet c.allowedTCPPorts c.allowedTCPPortRanges;
      udp = portSet c.allowedUDPPorts c.allowedUDPPortRanges;
    in
    ''
      ${optionalString (tcp != "") "${from} tcp dport { ${tcp} } accept"}
      ${optionalString (udp != "") "${from} udp dport { ${udp} } accept"}
    '';

  table = ''
    set temp-ports {
      comment "Temporarily opened ports"
      type inet_proto . inet_service
      flags interval
      auto-merge
    }

    ${optionalString (cfg.checkReversePath != false) ''
      chain rpfilter {
        type filter hook prerouting priority mangle + 10; policy drop;

        meta nfproto ipv4 udp sport . udp dport { 67 . 68, 68 . 67 } accept comment "DHCPv4 client/server"
        fib saddr . mark ${optionalString (cfg.checkReversePath != "loose") ". iif"} oif exists accept

        jump rpfilter-allow

        ${optionalString cfg.logReversePathDrops ''
          log level info prefix "rpfilter drop: "
        ''}

      }
    ''}

    chain rpfilter-allow {
      ${cfg.extraReversePathFilterRules}
    }

    chain input {
      type filter hook input priority filter; policy drop;

      ${optionalString (trusted != "") ''iifname { ${trusted} } accept comment "trusted interfaces"''}

      # Replies to multicast pings count as invalid for conntrack: let them in before it.
      icmpv6 type echo-reply accept

      # Neighbour discovery is not tracked.
      ct state vmap {
        invalid : drop,
        established : accept,
        related : accept,
        new : jump input-allow,
        untracked: jump input-allow,
      }

      ${optionalString cfg.logRefusedConnections ''
        tcp flags syn / fin,syn,rst,ack log level info prefix "refused connection: "
      ''}
      ${optionalString (cfg.logRefusedPackets && !cfg.logRefusedUnicastsOnly) ''
        pkttype broadcast log level info prefix "refused broadcast: "
        pkttype multicast log level info prefix "refused multicast: "
      ''}
      ${optionalString cfg.logRefusedPackets ''
        pkttype host log level info prefix "refused packet: "
      ''}

      ${optionalString cfg.rejectPackets ''
        meta l4proto tcp reject with tcp reset
        reject
      ''}

    }

    chain input-allow {

      ${lib.concatStrings (lib.mapAttrsToList opened cfg.allInterfaces)}

      meta l4proto . th dport @temp-ports accept

      ${optionalString cfg.allowPing ''
        icmp type echo-request ${optionalString (cfg.pingLimit != null) "limit rate ${cfg.pingLimit}"} accept comment "allow ping"
      ''}

      icmpv6 type != { nd-redirect, 139 } accept comment "ICMPv6 but redirects and node information queries (RFC 4890, 4.4)"
      ip6 daddr fe80::/64 udp dport 546 accept comment "DHCPv6 client"

      ${cfg.extraInputRules}

    }

    ${optionalString cfg.filterForward ''
      chain forward {
        type filter hook forward priority filter; policy drop;

        ct state vmap {
          invalid : drop,
          established : accept,
          related : accept,
          new : jump forward-allow,
          untracked : jump forward-allow,
        }

      }

      chain forward-allow {

        icmpv6 type != { router-renumbering, 139 } accept comment "ICMPv6 but renumbering and node information queries (RFC 4890, 4.3)"

        ct status dnat accept comment "allow port forward"

        ${cfg.extraForwardRules}

      }
    ''}
  '';
in
{
  options.networking.firewall = {
    enable = flag true "Whether incoming connections to ports that are not open are refused.";
    backend = mkOption {
      type = types.enum [
        "iptables"
        "nftables"
        "firewalld"
      ];
      default = if config.networking.nftables.enable then "nftables" else "iptables";
      defaultText = lib.literalMD "nftables if `networking.nftables.enable`, else iptables";
      description = "Implementation of the firewall.";
    };
    package = mkOption {
      type = types.package;
      default = if config.networking.nftables.enable then pkgs.nftables else pkgs.iptables;
      defaultText = lib.literalExpression ''if config.networking.nftables.enable then "pkgs.nftables" else "pkgs.iptables"'';
      description = "The firewall's package.";
    };
    logRefusedConnections = flag false "Whether refused connections are logged.";
    logRefusedPackets = flag false "Whether refused packets are logged.";
    logRefusedUnicastsOnly = flag true "Whether only packets to this machine are logged.";
    logReversePathDrops = flag false "Whether packets that fail the reverse path filter are logged.";
    rejectPackets = flag false "Whether packets are rejected rather than dropped.";
    allowPing = flag true "Whether pings are answered.";
    pingLimit = mkOption {
      type = types.nullOr (types.separatedString " ");
      default = null;
      description = "A limit on pings.";
    };
    checkReversePath = mkOption {
      type = types.either types.bool (
        types.enum [
          "strict"
          "loose"
        ]
      );
      default = true;
      description = "Drops packets whose answer would leave by another interface.";
    };
    connectionTrackingModules = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Connection tracking helpers to load.";
    };
    autoLoadConntrackHelpers = flag false "Whether helpers are loaded automatically.";
    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "More packages for the firewall.";
    };
    extraCommands = lines "iptables commands; not with nftables.";
    extraStopCommands = lines "iptables commands at the stop; not with nftables.";
    extraInputRules = lines "More nftables rules of the input-allow chain.";
    extraForwardRules = lines "More nftables rules of the forward-allow chain.";
    extraReversePathFilterRules = lines "More nftables rules of the rpfilter-allow chain.";
    filterForward = flag false "Whether forwarded packets are filtered.";
    trustedInterfaces = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Interfaces from which everything is accepted.";
    };
    interfaces = mkOption {
      type = perInterface;
      default = { };
      description = "Open ports by interface.";
    };
    allInterfaces = mkOption {
      type = perInterface;
      internal = true;
      visible = false;
      default = {
        default = builtins.mapAttrs (name: _: cfg.${name}) common;
      }
      // cfg.interfaces;
      description = "All open ports.";
    };
  }
  // common;

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.backend == "nftables";
        message = "nixos-lite has the nftables firewall only: set networking.nftables.enable = true, or networking.firewall.enable = false.";
      }
      {
        assertion = cfg.extraCommands == "";
        message = "extraCommands is incompatible with the nftables based firewall: ${cfg.extraCommands}";
      }
      {
        assertion = cfg.extraStopCommands == "";
        message = "extraStopCommands is incompatible with the nftables based firewall: ${cfg.extraStopCommands}";
      }
      {
        assertion = cfg.pingLimit == null || !(lib.hasPrefix "--" cfg.pingLimit);
        message = "nftables syntax like \"2/second\" should be used in networking.firewall.pingLimit";
      }
      {
        assertion = config.networking.nftables.rulesetFile == null;
        message = "networking.nftables.rulesetFile conflicts with the firewall";
      }
      {
        assertion = cfg.filterForward -> config.networking.nftables.enable;
        message = "filterForward only works with the nftables based firewall";
      }
    ];
    environment.systemPackages = [ cfg.package ] ++ cfg.extraPackages;
    boot.kernelModules = map (x: "nf_conntrack_${x}") cfg.connectionTrackingModules;
    networking.firewall.trustedInterfaces = [ "lo" ];
    networking.nftables.tables.nixos-fw = lib.mkIf (cfg.backend == "nftables") {
      family = "inet";
      content = table;
    };
  };
}
