# The node's addresses in the cluster's network.
{ config, lib, ... }:
let
  cfg = config.machinist.network;
  inherit (config.lib.machinist.types) ipAddress ipRange isIPv6;

  addresses =
    lib.singleton {
      inherit (cfg) address prefixLength;
    }
    ++ lib.optional (cfg.address6 != null) {
      address = cfg.address6;
      prefixLength = cfg.prefixLength6;
    };
  ofFamily = family: lib.filter (entry: isIPv6 entry.address == (family == "ipv6")) addresses;

  gateway = {
    address = cfg.gateway;
    inherit (cfg) interface;
  };
  hasGateway = family: cfg.gateway != null && isIPv6 cfg.gateway == (family == "ipv6");
in
{
  options.machinist.network = {
    address = lib.mkOption {
      type = ipAddress;
      example = "10.13.13.2";
      description = "Address of the node that the cluster's components listen on and are reached at.";
    };

    prefixLength = lib.mkOption {
      type = lib.types.ints.between 0 128;
      example = 24;
      description = "Prefix length of the node network, in bits.";
    };

    address6 = lib.mkOption {
      type = lib.types.nullOr ipAddress;
      default = null;
      example = "fd13::2";
      description = "Second address of a dual stack node, IPv6.";
    };

    prefixLength6 = lib.mkOption {
      type = lib.types.ints.between 0 128;
      default = 64;
      description = "Prefix length of the IPv6 node network, in bits.";
    };

    secondAddress = lib.mkOption {
      type = lib.types.nullOr ipAddress;
      default = null;
      example = "10.13.13.9";
      description = ''
        Other address of a node that `machinist node readdress` moves from one to the other. It is added to the
        interface that has one of the two.
      '';
    };

    nodes = lib.mkOption {
      type = ipRange;
      example = "10.13.13.0/24";
      description = "Network of the nodes' addresses.";
    };

    nodes6 = lib.mkOption {
      type = lib.types.nullOr ipRange;
      default = null;
      example = "fd13::/64";
      description = "IPv6 network of the nodes' second addresses.";
    };

    peersFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      internal = true;
      description = "File with the addresses of the nodes at the other ends of an overlay without authentication.";
    };

    peers = lib.mkOption {
      type = lib.types.listOf (lib.types.either ipAddress ipRange);
      default =
        if cfg.peersFile == null then
          [ cfg.nodes ] ++ lib.optional (cfg.nodes6 != null) cfg.nodes6
        else
          import cfg.peersFile;
      defaultText = lib.literalMD "the cluster's own nodes where the overlay's backend is `vxlan`, else the node network";
      description = ''
        Addresses that may send packets to a tunnel without authentication. The firewall treats packets from the
        tunnel as the overlay's.
      '';
    };

    interface = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "[^/ ]{1,15}");
      default = null;
      example = "enp2s0";
      description = ''
        Network interface that carries the node's address. `null` leaves the interfaces as they are: to DHCP, or to
        `nodes/<name>.nix`.
      '';
    };

    gateway = lib.mkOption {
      type = lib.types.nullOr ipAddress;
      default = null;
      example = "10.13.13.1";
      description = "Default gateway. It is set only together with {option}`machinist.network.interface`.";
    };

    nameservers = lib.mkOption {
      type = lib.types.listOf ipAddress;
      default = [ ];
      example = [ "10.13.13.1" ];
      description = "DNS servers of the node, in the order of queries.";
    };

    sshPort = lib.mkOption {
      type = lib.types.port;
      default = 22;
      description = "TCP port of sshd.";
    };

    links = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            addresses = lib.mkOption {
              type = lib.types.listOf ipRange;
              example = [ "203.0.113.5/20" ];
              description = "Addresses of the interface, each with the length of its network's prefix.";
            };
            gateways = lib.mkOption {
              type = lib.types.listOf ipAddress;
              default = [ ];
              example = [ "203.0.113.1" ];
              description = "Default gateways that the interface leads to.";
            };
          };
        }
      );
      default = { };
      example = {
        "aa:bb:cc:00:11:22".addresses = [ "10.13.13.2/24" ];
      };
      description = ''
        Interfaces by MAC address, configured statically by systemd-networkd: those of a server whose provider has no
        DHCP, as `machinist provision` recorded them.
      '';
    };

    configure = lib.mkOption {
      type = lib.types.bool;
      default = cfg.interface != null;
      defaultText = lib.literalExpression "config.machinist.network.interface != null";
      description = "Sets the node's addresses and default gateway on the interface statically.";
    };
  };

  config = lib.mkMerge [
    {
      networking.nameservers = lib.mkIf (cfg.nameservers != [ ]) (lib.mkDefault cfg.nameservers);
      assertions = [
        {
          assertion = cfg.configure -> cfg.interface != null;
          message =
            "machinist.network.configure is true on ${config.machinist.node.name}, but there is no interface: "
            + "set `interface` of the machine in machines.nix.";
        }
      ];
    }
    (lib.mkIf (cfg.links != { }) {
      systemd.network = {
        enable = true;
        networks = lib.mapAttrs' (
          mac: link:
          lib.nameValuePair "40-machinist-${lib.replaceStrings [ ":" ] [ "" ] mac}" {
            # A bridge or VLAN may have the MAC address of its interface.
            matchConfig = {
              MACAddress = mac;
              Type = "ether";
            };
            address = link.addresses;
            gateway = link.gateways;
            networkConfig.IPv6AcceptRA = false;
          }
        ) cfg.links;
      };
      networking.useDHCP = lib.mkDefault false;
    })
    (lib.mkIf (cfg.links != { } && cfg.nameservers == [ ] && config.machinist.node.provider == "digitalocean") {
      # Without DHCP nothing else names a resolver; these are the provider's.
      networking.nameservers = lib.mkDefault [
        "67.207.67.2"
        "67.207.67.3"
      ];
    })
    (lib.mkIf (cfg.configure && cfg.interface != null) {
      networking = {
        interfaces.${cfg.interface} = {
          ipv4.addresses = lib.mkDefault (ofFamily "ipv4");
          ipv6.addresses = lib.mkDefault (ofFamily "ipv6");
          useDHCP = lib.mkDefault false;
        };
        defaultGateway = lib.mkIf (hasGateway "ipv4") (lib.mkDefault gateway);
        defaultGateway6 = lib.mkIf (hasGateway "ipv6") (lib.mkDefault gateway);
      };
    })
  ];
}
