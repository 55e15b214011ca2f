# Source rules of the firewall: each port of the cluster is open only to the addresses that need it.
{ config, lib, ... }:
let
  cfg = config.machinist.firewall;
  inherit (config.lib.machinist.types) ipAddress ipRange isIPv6;

  rule =
    protocol: name: port:
    let
      sources = lib.sort (a: b: a < b) (lib.unique port.sources);
      accept =
        family: addresses:
        lib.optional (addresses != [ ]) (
          "${family} saddr { ${lib.concatStringsSep ", " addresses} } "
          + "${protocol} dport ${toString port.port} accept comment \"${name}\""
        );
    in
    accept "ip" (lib.filter (source: !isIPv6 source) sources)
    ++ accept "ip6" (lib.filter isIPv6 sources);

  ports =
    protocol: example:
    lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            port = lib.mkOption {
              type = lib.types.port;
              description = "${protocol} port that is opened.";
            };
            sources = lib.mkOption {
              type = lib.types.listOf (lib.types.either ipAddress ipRange);
              default = [ ];
              description = "Addresses and ranges that may connect. An empty list opens nothing.";
            };
          };
        }
      );
      default = { };
      inherit example;
      description = ''
        ${protocol} ports that are open to named addresses only. The name becomes the comment of the rule.
      '';
    };

  rules =
    lib.concatLists (lib.mapAttrsToList (rule "tcp") cfg.tcp)
    ++ lib.concatLists (lib.mapAttrsToList (rule "udp") cfg.udp);
  names = lib.attrNames cfg.tcp ++ lib.attrNames cfg.udp;
in
{
  options.machinist.firewall = {
    tcp = ports "TCP" {
      "etcd-peers" = {
        port = 2380;
        sources = [ "10.13.13.3" ];
      };
    };
    udp = ports "UDP" {
      "vxlan" = {
        port = 8472;
        sources = [ "10.13.13.0/24" ];
      };
    };
  };

  config = {
    networking.nftables.enable = lib.mkDefault true;
    networking.firewall = {
      enable = lib.mkDefault true;
      allowPing = lib.mkDefault true;
      extraInputRules = lib.mkIf (names != [ ]) (lib.concatStringsSep "\n" rules);
    };

    # The iptables backend silently ignores extraInputRules: the ports would stay closed and etcd
    # would lose its quorum.
    assertions = [
      {
        assertion = config.networking.firewall.enable && names != [ ] -> config.networking.nftables.enable;
        message =
          "networking.nftables.enable is false on ${config.machinist.node.name}, so the source rules of "
          + "machinist.firewall have no effect: enable nftables, or switch networking.firewall.enable off "
          + "and filter ${lib.concatStringsSep ", " names} elsewhere.";
      }
    ];
  };
}
