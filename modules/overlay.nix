# The overlay of a service mesh: this node's address in it, which exists before any service starts,
# and flannel, which forwards packets to the other nodes. Its configuration and the permissions in
# etcd belong to the operators (docs/guides/overlay.md): the preStart of NixOS' flannel would let
# each node write the configuration of all.
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

  # A higher metric than that of flannel's routes, so packets for the overlay never leave by another
  # route, in the clear.
  unreachable = "unreachable ${cfg.network} metric 4096";

  # flannel's devices. A backend may change while the cluster runs, so both are listed.
  devices = [
    "flannel-wg"
    "flannel.1"
  ];

  # flannel does not remove the devices and routes of another backend, and a route to a node's
  # subnet takes precedence over that to the overlay: after a change from `vxlan` to `wireguard`
  # packets would still be sent in the clear. Those of the current backend are kept while it
  # restarts.
  leftovers = {
    wireguard = [
      "link delete flannel.1"
      "route flush root ${cfg.network} type unicast"
    ];
    vxlan = [ "link delete flannel-wg" ];
    host-gw = map (device: "link delete ${device}") devices;
  };

  # flannel writes the MTU when it has a lease for its subnet and routes to the other nodes.
  wasUp = "/var/lib/machinist-overlay/was-up";
  remember = pkgs.writeShellScript "machinist-overlay-remember" ''
    ${pkgs.gnugrep}/bin/grep -qs '^FLANNEL_MTU=' ${subnetFile} && ${pkgs.coreutils}/bin/touch ${wasUp}
    exit 0
  '';
  isUp = pkgs.writeShellScript "machinist-overlay-is-up" ''
    ${pkgs.gnugrep}/bin/grep -qs '^FLANNEL_MTU=' ${subnetFile} && exit 0
    # Until the first deploy of an overlay is complete, etcd has no configuration for flannel.
    [ -e ${wasUp} ] || exit 0
    echo "flannel has no lease for ${cfg.subnet}, this node's subnet of the overlay (journalctl -u flannel); a stale lease ends with this deploy: try again"
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
      description = "File with the subnets of all nodes.";
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
      # By address: the default is the interface of the default route, which is often another one.
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
      # flannel reuses its last subnet if no other node has it, so this is the one it gets. Replaces
      # the preStart of NixOS' services.flannel, which writes the overlay's configuration to etcd: a
      # node must not.
      preStart = lib.mkOverride 90 ''
        ${pkgs.coreutils}/bin/printf '%s\n' 'FLANNEL_NETWORK=${cfg.network}' '${expected}' >${subnetFile}
      '';
      environment = {
        # The firewall decides which packets are forwarded.
        FLANNELD_IPTABLES_FORWARD_RULES = "false";
        # The default is in /run, and with a new key at each start, the node would be a different
        # peer. The key never leaves the node.
        WIREGUARD_KEY_FILE = "/var/lib/machinist-overlay/wireguard.key";
      };
      startLimitIntervalSec = 0;
      serviceConfig = {
        # Overrides the 10 s of NixOS' services.flannel: a changed configuration ends it on all
        # nodes at once, and their traffic waits for the restart.
        RestartSec = lib.mkOverride 90 "2s";
        ExecStopPost = [ "${remember}" ] ++ map (what: "-${iproute} ${what}") leftovers.${cfg.backend};
        TimeoutStopSec = "10s";
        StateDirectory = "machinist-overlay";
        StateDirectoryMode = "0700";
      };
    };

    # flannel 0.28 removes its WireGuard device and may then hang forever if its lease is removed
    # together with another one, which happens when the backend changes; by then the new system
    # already uses the next backend.
    systemd.services.machinist-overlay-watch = {
      description = "Restart of flannel when its WireGuard device disappears";
      wantedBy = [ "multi-user.target" ];
      script = ''
        main() { ${pkgs.systemd}/bin/systemctl show --property=MainPID --value flannel.service; }
        ${iproute} -oneline monitor link | while read -r what _ device _; do
          [ "$what $device" = "Deleted flannel-wg:" ] || continue
          process=$(main)
          ${pkgs.coreutils}/bin/sleep 3
          [ ! -e /sys/class/net/flannel-wg ] && [ "$process" != 0 ] && [ "$(main)" = "$process" ] || continue
          echo "flannel hangs without its device: restarting it"
          kill -KILL "$process"
        done
      '';
      serviceConfig = {
        Restart = "always";
        RestartSec = "2s";
      };
    };

    machinist.gates.overlay.command = [ "${isUp}" ];

    boot.kernelModules =
      {
        wireguard = [ "wireguard" ];
        vxlan = [ "vxlan" ];
        host-gw = [ ];
      }
      .${cfg.backend};

    machinist.firewall.udp = {
      # Both, so that the backend can change while packets are still sent by the other one.
      overlay-vxlan = {
        port = 8472;
        sources = lib.filter (peer: !isIPv6 peer) network.peers;
      };
      overlay-wireguard = {
        port = 51820;
        sources = [ network.nodes ];
      };
    };

    # The node's address in the overlay is only for packets of the overlay: in the nodes' own
    # network anyone could send to it. A separate table, since the firewall's accepts ping and SSH
    # before our rules, and packets dropped here never reach it.
    networking.nftables.tables.machinist-overlay = lib.mkIf (cfg.backend != "host-gw") {
      family = "inet";
      content = ''
        chain input {
          type filter hook input priority filter - 10; policy accept;
          ip daddr ${cfg.network} iifname != { ${
            lib.concatMapStringsSep ", " (device: "\"${device}\"") ([ "lo" ] ++ devices)
          } } drop comment "overlay"
        }
      '';
    };

    networking.dhcpcd.denyInterfaces = [ "flannel*" ];
  };
}
