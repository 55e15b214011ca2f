# The control mesh: the node's address is on an interface of its own, and an encrypted network carries packets to the
# other nodes' addresses. The interface is there before any service starts, and stays while the program behind it
# restarts, so services listen on its address as on any other.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.control;
  inherit (config.machinist) network node;
  inherit (config.lib.machinist.types) ipAddress isIPv6;

  interface = "control";
  own = cfg.nodes.${node.name} or null;
  peers = removeAttrs cfg.nodes [ node.name ];
  unit = if cfg.backend == "tinc" then "tinc.control" else "machinist-control";

  iproute = "${pkgs.iproute2}/bin/ip";
  create = {
    tinc = "tuntap add dev ${interface} mode tun";
    wireguard = "link add ${interface} type wireguard";
  };
  family = if isIPv6 network.address then "ip6" else "ip";

  keyOptions.options = {
    id = lib.mkOption {
      type = lib.types.strMatching "[0-9a-f]{16}";
      description = "Digest of the key.";
    };
    key = lib.mkOption {
      type = lib.types.strMatching "[A-Za-z0-9+/=]{43,44}";
      description = "The key, in the form of the backend.";
    };
  };

  nodeOptions.options = {
    addresses = lib.mkOption {
      type = lib.types.listOf ipAddress;
      description = "Addresses of the node in the mesh.";
    };
    endpoint = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      description = "Address or DNS name at which the others reach it; `null`: it connects to them.";
    };
    keys = lib.mkOption {
      type = lib.types.listOf (lib.types.submodule keyOptions);
      description = "Its public keys, the one in use first. While it is rotated there are two.";
    };
    pair = lib.mkOption {
      type = lib.types.str;
      description = "Name of its key pair.";
    };
    public = lib.mkOption {
      type = lib.types.path;
      description = "Public half of the pair, PEM.";
    };
  };
in
{
  imports = [
    ./tinc.nix
    ./wireguard.nix
  ];

  options.machinist.control = {
    backend = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.enum [
          "tinc"
          "wireguard"
        ]
      );
      default = null;
      description = "Program that carries packets; `null`: there is no control mesh.";
    };

    port = lib.mkOption {
      type = lib.types.port;
      description = "Port on each node: UDP, with tinc also TCP.";
    };

    mtu = lib.mkOption {
      type = lib.types.ints.between 1280 9000;
      default = 1400;
      description = ''
        Largest packet in the mesh, in bytes. The default fits into packets of 1500 bytes with the headers of either
        backend over IPv6, and into those of DSL lines.
      '';
    };

    nodesFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      internal = true;
      description = "File with the nodes.";
    };

    nodes = lib.mkOption {
      type = lib.types.attrsOf (lib.types.submodule nodeOptions);
      default = if cfg.nodesFile == null then { } else import cfg.nodesFile;
      defaultText = lib.literalMD "the nodes of machines.nix";
      description = "All nodes of the mesh, this one too.";
    };

    interface = lib.mkOption {
      type = lib.types.str;
      default = interface;
      readOnly = true;
      internal = true;
      description = "The mesh's interface.";
    };

    peers = lib.mkOption {
      type = lib.types.attrsOf lib.types.raw;
      default = peers;
      readOnly = true;
      internal = true;
      description = "The other nodes.";
    };

    own = lib.mkOption {
      type = lib.types.raw;
      default = own;
      readOnly = true;
      internal = true;
      description = "This node; `null` if it has no keys yet.";
    };
  };

  config = lib.mkIf (cfg.backend != null) {
    systemd.services.machinist-control-interface = {
      description = "Interface of the control mesh";
      wantedBy = [
        "multi-user.target"
        "network.target"
      ];
      # Not before the firewall, which NixOS starts before this target.
      after = [ "network-pre.target" ];
      wants = [ "network-pre.target" ];
      before = [
        "network.target"
        "${unit}.service"
      ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      # No stop: while it is absent, everything that listens on the address would be cut off.
      script = ''
        ${iproute} link show ${interface} >/dev/null 2>&1 || ${iproute} ${create.${cfg.backend}}
        ${iproute} link set ${interface} mtu ${toString cfg.mtu} up
        ${iproute} address replace ${network.address}/${toString network.prefixLength} dev ${interface}${lib.optionalString (isIPv6 network.address) " nodad"}
      '';
    };

    machinist.keys.units.${unit}.keyPairs = lib.optional (own != null) own.pair;

    # `machinist certs rotate-control` reads which keys a node accepts.
    environment.etc = lib.mapAttrs' (
      _: peer: lib.nameValuePair "machinist/pki/${peer.pair}.pub" { source = peer.public; }
    ) peers;

    networking.firewall = {
      allowedUDPPorts = [ cfg.port ];
      allowedTCPPorts = lib.optional (cfg.backend == "tinc") cfg.port;
    };

    # The firewall knows nodes by their addresses, which anyone on a public network could write into a packet. A separate
    # table, since packets dropped here never reach the firewall's rules.
    networking.nftables.tables.machinist-control = {
      family = "inet";
      content = ''
        chain input {
          type filter hook input priority filter - 10; policy accept;
          ${family} saddr ${network.nodes} iifname != { "lo", "${interface}" } counter drop comment "control"
        }
      '';
    };

    assertions = [
      {
        assertion = config.networking.nftables.enable;
        message =
          "networking.nftables.enable is false on ${node.name}, so nothing drops packets that come from outside with an "
          + "address of machinist.control: enable nftables.";
      }
    ];

    networking.dhcpcd.denyInterfaces = [ interface ];

    warnings = lib.optional (own == null) (
      "machinist.control of ${node.name} has no keys: the node reaches no other one. Run `machinist certs gen` and "
      + "`machinist generate`."
    );
  };
}
