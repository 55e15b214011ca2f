# The overlay of a service mesh: an address of this node in it, which is there before anything runs, and flannel, which
# brings packets to the other nodes. Its configuration and the rights in etcd are the operators' (docs/guides/overlay.md): NixOS' own
# start of flannel would let each node write the configuration for all.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.overlay;
  inherit (config.machinist) network;
  inherit (config.lib.machinist.types)
    ipAddress
    ipRange
    isIPv6
    urlHost
    ;
  inherit (config.machinist.keys.units.flannel) files;

  iproute = "${pkgs.iproute2}/bin/ip";
  subnetFile = "/run/flannel/subnet.env";
  prefixLength = lib.toInt (lib.last (lib.splitString "/" cfg.subnet));
  expected = "FLANNEL_SUBNET=${cfg.address}/${toString prefixLength}";

  # Below every route of flannel's, so that what is meant for the overlay never leaves by another way, in the clear.
  unreachable = "unreachable ${cfg.network} metric 4096";

  # flannel's devices. A backend may change while the cluster runs, so both of them count.
  devices = [
    "flannel-wg"
    "flannel.1"
  ];

  # flannel leaves what another backend has made, and a route to one node's part goes before that of the whole network: after a
  # change from `vxlan` to `wireguard` packets would still travel in the clear. What its own backend has made stays while it is
  # started anew.
  leftovers = {
    wireguard = [
      "link delete flannel.1"
      "route flush root ${cfg.network} type unicast"
    ];
    vxlan = [ "link delete flannel-wg" ];
    host-gw = map (device: "link delete ${device}") devices;
  };

  # flannel writes the MTU when it has its part and its way to the others.
  wasUp = "/var/lib/machinist-overlay/was-up";
  remember = pkgs.writeShellScript "machinist-overlay-remember" ''
    ${pkgs.gnugrep}/bin/grep -qs '^FLANNEL_MTU=' ${subnetFile} && ${pkgs.coreutils}/bin/touch ${wasUp}
    exit 0
  '';
  isUp = pkgs.writeShellScript "machinist-overlay-is-up" ''
    ${pkgs.gnugrep}/bin/grep -qs '^FLANNEL_MTU=' ${subnetFile} && exit 0
    # Before the first deploy of an overlay has ended, there is no configuration that flannel could take.
    [ -e ${wasUp} ] || exit 0
    echo "flannel does not get ${cfg.subnet}, this node's part of the overlay (journalctl -u flannel); a lease of before ends with this deploy: try again"
    exit 1
  '';
in
{
  options.machinist.overlay = {
    backend = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.enum [
          "wireguard"
          "vxlan"
          "host-gw"
        ]
      );
      default = null;
      description = "Transport of packets; `null`: this node is not in an overlay.";
    };

    network = lib.mkOption {
      type = ipRange;
      example = "10.10.0.0/16";
      description = "Range of all nodes.";
    };

    subnet = lib.mkOption {
      type = ipRange;
      example = "10.10.4.0/24";
      description = "This node's subnet.";
    };

    address = lib.mkOption {
      type = ipAddress;
      example = "10.10.4.1";
      description = "This node's own address, the first of its subnet.";
    };

    nodesFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      internal = true;
      description = "File with the parts of all nodes.";
    };

    nodes = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            ip = lib.mkOption {
              type = ipAddress;
              description = "The node's own address.";
            };
            subnet = lib.mkOption {
              type = ipRange;
              description = "The node's subnet.";
            };
          };
        }
      );
      default = if cfg.nodesFile == null then { } else import cfg.nodesFile;
      defaultText = lib.literalExpression "{ w1 = { ip = \"10.10.4.1\"; subnet = \"10.10.4.0/24\"; }; ... }";
      description = "Addresses of all nodes: `config.machinist.overlay.nodes.w1.ip`. They follow from machines.nix.";
    };

    carriesInstances = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Publishes the instances of this node at its address in the overlay. Set it to `false` on all nodes for the
        deploy that adds an overlay to a running mesh: nodes without the overlay would not reach those with it.
      '';
    };
  };

  config = lib.mkIf (cfg.backend != null) {
    machinist.keys.units.flannel = {
      leaves = [ "mesh-flannel" ];
      authorities = [ "etcd" ];
    };

    systemd.services.machinist-overlay = {
      description = "Address of this node in the overlay";
      wantedBy = [
        "multi-user.target"
        "network.target"
      ];
      before = [ "network.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = [
          "${iproute} address replace ${cfg.address}/32 dev lo scope global"
          "${iproute} route replace ${unreachable}"
        ];
        ExecStop = [
          "-${iproute} route delete ${unreachable}"
          "-${iproute} address delete ${cfg.address}/32 dev lo"
        ];
      };
    };

    services.flannel = {
      enable = true;
      storageBackend = "etcd";
      # By address: the default is the interface of the default route, which is another one on many machines.
      iface = network.address;
      publicIp = network.address;
      inherit (cfg) network;
      subnetLen = prefixLength;
      backend.Type = cfg.backend;
      etcd = {
        endpoints = map (address: "https://${urlHost address}:2379") config.machinist.mesh.etcdMembers;
        caFile = files.authorities.etcd;
        certFile = files.mesh-flannel.certificate;
        keyFile = files.mesh-flannel.key;
      };
    };

    systemd.services.flannel = {
      wants = [ "network-online.target" ];
      after = [
        "machinist-overlay.service"
        "network-online.target"
      ];
      # flannel takes the subnet that it had last, if no other node has it: so this is the one that it takes. In the place of the
      # preStart of NixOS' services.flannel, which puts the overlay's configuration into etcd: a node may not.
      preStart = lib.mkOverride 90 ''
        ${pkgs.coreutils}/bin/printf '%s\n' 'FLANNEL_NETWORK=${cfg.network}' '${expected}' >${subnetFile}
      '';
      environment = {
        # Whether packets are forwarded is the firewall's business.
        FLANNELD_IPTABLES_FORWARD_RULES = "false";
        # The default is in /run: then each start would be another node to the others. The key never leaves the node.
        WIREGUARD_KEY_FILE = "/var/lib/machinist-overlay/wireguard.key";
      };
      startLimitIntervalSec = 0;
      serviceConfig = {
        # Over the 10 s of NixOS' services.flannel: a changed configuration ends it on all nodes at the same time, and their
        # traffic waits for this.
        RestartSec = lib.mkOverride 90 "2s";
        ExecStopPost = [ "${remember}" ] ++ map (what: "-${iproute} ${what}") leftovers.${cfg.backend};
        TimeoutStopSec = "10s";
        StateDirectory = "machinist-overlay";
        StateDirectoryMode = "0700";
      };
    };

    # flannel 0.28 takes WireGuard's device away and then may wait for ever, where its lease is taken away together with another's:
    # so it is when the backend changes, and by then this system is already one of the next backend.
    systemd.services.machinist-overlay-watch = {
      description = "End of a flannel that has no device any more and does not end";
      wantedBy = [ "multi-user.target" ];
      script = ''
        main() { ${pkgs.systemd}/bin/systemctl show --property=MainPID --value flannel.service; }
        ${iproute} -oneline monitor link | while read -r what _ device _; do
          [ "$what $device" = "Deleted flannel-wg:" ] || continue
          process=$(main)
          ${pkgs.coreutils}/bin/sleep 3
          [ ! -e /sys/class/net/flannel-wg ] && [ "$process" != 0 ] && [ "$(main)" = "$process" ] || continue
          echo "flannel has no device and does not end: it is started anew"
          kill -KILL "$process"
        done
      '';
      serviceConfig = {
        Restart = "always";
        RestartSec = "2s";
      };
    };

    machinist.gates.overlay.command = [ "${isUp}" ];

    boot.kernelModules = {
      wireguard = [ "wireguard" ];
      vxlan = [ "vxlan" ];
      host-gw = [ ];
    }.${cfg.backend};

    machinist.firewall.udp = {
      # Both, so that the backend can change while packets still travel by the other one.
      overlay-vxlan = {
        port = 8472;
        sources = lib.filter (peer: !isIPv6 peer) network.peers;
      };
      overlay-wireguard = {
        port = 51820;
        sources = [ network.nodes ];
      };
    };

    # The node's address in the overlay is for packets of the overlay: on the nodes' own network anyone could send to it. A table of
    # its own, as the firewall's lets in a ping and SSH before its rules of ours, and nothing that is dropped here comes to it.
    networking.nftables.tables.machinist-overlay = lib.mkIf (cfg.backend != "host-gw") {
      family = "inet";
      content = ''
        chain input {
          type filter hook input priority filter - 10; policy accept;
          ip daddr ${cfg.network} iifname != { ${lib.concatMapStringsSep ", " (device: "\"${device}\"") ([ "lo" ] ++ devices)} } drop comment "overlay"
        }
      '';
    };

    networking.dhcpcd.denyInterfaces = [ "flannel*" ];
  };
}
