# networking.interfaces by scripts, as NixOS's scripted networking in a container does it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption optionalString types;
  cfg = config.networking;
  interfaces = lib.attrValues cfg.interfaces;

  nullable =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  flag =
    description:
    mkOption {
      type = types.bool;
      default = false;
      inherit description;
    };

  bits = { ipv4 = 32; ipv6 = 128; };
  network = family: {
    address = mkOption {
      type = types.str;
      description = "The address.";
    };
    prefixLength = mkOption {
      type = types.ints.between 0 bits.${family};
      description = "The length of the prefix, in bits.";
    };
  };
  addresses =
    family:
    mkOption {
      type = types.listOf (types.submodule { options = network family; });
      default = [ ];
      description = "Static addresses.";
    };
  routes =
    family:
    mkOption {
      type = types.listOf (
        types.submodule {
          options = network family // {
            type = nullable (types.enum [ "unicast" "local" "broadcast" "multicast" ]) "The kind of route.";
            via = nullable types.str "The next hop.";
            options = mkOption {
              type = types.attrsOf types.str;
              default = { };
              description = "More words of the route.";
            };
          };
        }
      );
      default = [ ];
      description = "Static routes.";
    };
  tempAddresses = types.enum (lib.attrNames tempAddressModes);
  # Values of the kernel's use_tempaddr.
  tempAddressModes = {
    disabled = "0";
    enabled = "1";
    default = "2";
  };
  # A dot in an interface's name is a slash in the name of its kernel parameter.
  ofInterface = lib.replaceStrings [ "." ] [ "/" ];

  interface =
    { name, ... }:
    {
      options = {
        name = mkOption {
          type = types.str;
          description = "The interface's name.";
        };
        useDHCP = nullable types.bool "Whether DHCP is used.";
        ipv4 = {
          addresses = addresses "ipv4";
          routes = routes "ipv4";
        };
        ipv6 = {
          addresses = addresses "ipv6";
          routes = routes "ipv6";
        };
        macAddress = nullable types.str "The MAC address; without effect here.";
        mtu = nullable types.int "The MTU, in bytes.";
        proxyARP = flag "Whether ARP is answered for others.";
        tempAddress = mkOption {
          type = tempAddresses;
          default = cfg.tempAddresses;
          defaultText = lib.literalExpression "config.networking.tempAddresses";
          description = "Use of temporary IPv6 addresses.";
        };
        virtual = flag "Whether the interface is made here; nixos-lite does not.";
        virtualOwner = mkOption {
          type = types.str;
          default = "root";
          description = "The owner of a virtual interface.";
        };
        virtualType = mkOption {
          type = types.enum [ "tun" "tap" ];
          default = if lib.hasPrefix "tun" name then "tun" else "tap";
          defaultText = lib.literalExpression ''if hasPrefix "tun" name then "tun" else "tap"'';
          description = "The kind of a virtual interface.";
        };
        wakeOnLan = {
          enable = flag "Whether wake-on-LAN is on; without effect here.";
          policy = mkOption {
            type = types.listOf (types.enum [ "phy" "unicast" "multicast" "broadcast" "arp" "magic" "secureon" ]);
            default = [ "magic" ];
            description = "Events that wake the machine.";
          };
        };
      };
      config.name = lib.mkDefault name;
    };

  words = attrs: lib.concatStringsSep " " (lib.mapAttrsToList (n: v: "${n} ${toString v}") (lib.filterAttrs (_: v: v != null) attrs));

  # The interface of a gateway: the one it names, or otherwise one whose IPv4 network contains it.
  ofGateway =
    family: gateway: i:
    gateway != null
    && (
      if gateway.interface != null then
        gateway.interface == i.name
      else
        family == "ipv4" && lib.any (net: inNetwork net gateway.address) i.ipv4.addresses
    );
  octets = address: map lib.toInt (lib.splitString "." address);
  number = address: lib.foldl' (n: o: n * 256 + o) 0 (octets address);
  power = n: if n == 0 then 1 else 2 * power (n - 1);
  inNetwork =
    net: address:
    let
      size = power (32 - net.prefixLength);
    in
    number net.address / size == number address / size;

  addAddress =
    i: ip:
    let
      cidr = "${ip.address}/${toString ip.prefixLength}";
    in
    ''
      echo "${cidr}" >> $state
      echo -n "adding address ${cidr}... "
      if out=$(ip addr replace "${cidr}" dev "${i.name}" nodad 2>&1); then
        echo "done"
      else
        echo "'ip addr replace \"${cidr}\" dev \"${i.name}\"' nodad failed: $out"
        exit 1
      fi
    '';
  addRoute =
    i: route:
    let
      cidr = "${route.address}/${toString route.prefixLength}";
      options = words route.options;
      via = optionalString (route.via != null) ''via "${route.via}"'';
      type = toString route.type;
    in
    ''
      echo "${cidr}" >> $state
      echo -n "adding route ${cidr}... "
      if out=$(ip route add ${type} "${cidr}" ${options} ${via} dev "${i.name}" proto static 2>&1); then
        echo "done"
      elif ! echo "$out" | grep "File exists" >/dev/null 2>&1; then
        echo "'ip route add ${type} \"${cidr}\" ${options} ${via} dev \"${i.name}\"' failed: $out"
        exit 1
      fi
    '';
  setGateway =
    i: version: gateway:
    optionalString (gateway.address != "") ''
      echo -n "setting ${i.name} as default IPv${version} gateway... "
      ${optionalString (gateway.interface != null) ''
        ip -${version} route replace ${gateway.address} proto static ${
          words {
            dev = gateway.interface;
            inherit (gateway) metric;
          }
        }
      ''}
      ip -${version} route replace default proto static ${
        words {
          via = gateway.address;
          dev = gateway.interface;
          inherit (gateway) metric;
          src = gateway.source;
          window = cfg.defaultGatewayWindowSize;
        }
      }
      echo "done"
    '';

  addressUnit =
    i:
    let
      gateway4 = ofGateway "ipv4" cfg.defaultGateway i;
      gateway6 = ofGateway "ipv6" cfg.defaultGateway6 i;
      addresses = map (ip: "${ip.address}/${toString ip.prefixLength}") (i.ipv4.addresses ++ lib.optionals cfg.enableIPv6 i.ipv6.addresses);
      networks = map (r: "${r.address}/${toString r.prefixLength}") (i.ipv4.routes ++ i.ipv6.routes);
      # NixOS removes all that the unit had added. Here, addresses and routes that are still in the
      # configuration are kept, so that neither a restart nor a stop cuts the link over which a
      # switch runs.
      forget = what: singular: wanted: command: ''
        state="/run/nixos/network/${what}/${i.name}"
        if [ -e "$state" ]; then
          while read -r cidr; do
            case "$cidr" in ${lib.concatStringsSep "|" ([ "''" ] ++ wanted)}) continue ;; esac
            echo -n "deleting ${singular} $cidr... "
            ${command} >/dev/null 2>&1 && echo "done" || echo "failed"
          done < "$state"
          rm -f "$state"
        fi
      '';
    in
    lib.nameValuePair "network-addresses-${i.name}" {
      description = "Address configuration of ${i.name}";
      wantedBy = [ "network.target" ] ++ lib.optional (gateway4 || gateway6) "network-online.target";
      after = [ "network-pre.target" ];
      partOf = [ "networking-scripted.target" ];
      path = [ pkgs.iproute2 ];
      # A restart rather than a stop and a start, so that the network is never down during a switch.
      stopIfChanged = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        state="/run/nixos/network/addresses/${i.name}"
        mkdir -p "$(dirname "$state")"

        ${optionalString (i.mtu != null) ''ip link set dev "${i.name}" mtu ${toString i.mtu}''}
        ip link set dev "${i.name}" up

        ${lib.concatMapStrings (addAddress i) (i.ipv4.addresses ++ lib.optionals cfg.enableIPv6 i.ipv6.addresses)}

        state="/run/nixos/network/routes/${i.name}"
        mkdir -p "$(dirname "$state")"

        ${lib.concatMapStrings (addRoute i) (i.ipv4.routes ++ i.ipv6.routes)}

        # Set the default gateway
        ${optionalString gateway4 (setGateway i "4" cfg.defaultGateway)}
        ${optionalString gateway6 (setGateway i "6" cfg.defaultGateway6)}
      '';
      preStop = ''
        ${forget "routes" "route" networks ''ip route del "$cidr" dev "${i.name}"''}
        ${forget "addresses" "address" addresses ''ip addr del "$cidr" dev "${i.name}"''}
      '';
    };
in
{
  options.networking = {
    interfaces = mkOption {
      type = types.attrsOf (types.submodule interface);
      default = { };
      description = "Network interfaces.";
    };
    tempAddresses = mkOption {
      type = tempAddresses;
      default = if cfg.enableIPv6 then "default" else "disabled";
      defaultText = lib.literalExpression ''if ''${config.networking.enableIPv6} then "default" else "disabled"'';
      description = "Use of temporary IPv6 addresses.";
    };
  };

  config = lib.mkMerge [
    {
      boot.kernel.sysctl = {
        "net.ipv4.conf.all.forwarding" = lib.mkIf (lib.any (i: i.proxyARP) interfaces) (lib.mkDefault true);
        "net.ipv4.ping_group_range" = lib.mkDefault "0 2147483647";
        "net.ipv6.conf.all.disable_ipv6" = lib.mkDefault (!cfg.enableIPv6);
        "net.ipv6.conf.default.disable_ipv6" = lib.mkDefault (!cfg.enableIPv6);
        "net.ipv6.conf.default.use_tempaddr" = tempAddressModes.${cfg.tempAddresses};
      }
      // lib.listToAttrs (
        map (i: lib.nameValuePair "net.ipv4.conf.${ofInterface i.name}.proxy_arp" i.proxyARP) interfaces
        ++ map (
          i: lib.nameValuePair "net.ipv6.conf.${ofInterface i.name}.use_tempaddr" tempAddressModes.${i.tempAddress}
        ) interfaces
      );
    }
    (lib.mkIf (!cfg.useNetworkd) {
      systemd.services = lib.listToAttrs (map addressUnit interfaces);
      systemd.targets = {
        network.wantedBy = [ "multi-user.target" ];
        networking-scripted.description = "NixOS scripted networking setup";
      };
    })
  ];
}
