# Settings that servers and agents of k3s share: the node's name, addresses, labels and taints, and
# the token, which is a file. Flags instead of NixOS' newer options (nodeName, nodeIP, disable ...),
# which earlier releases do not have.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.k3s;
  inherit (config.machinist) network node;
  isServer = cfg.role == "server";
  token = if isServer then "k3s-server-token" else "k3s-agent-token";
  addresses = [ network.address ] ++ lib.optional (network.address6 != null) network.address6;
in
{
  config = lib.mkIf cfg.enable {
    services.k3s = {
      enable = true;
      inherit (cfg) role;
      tokenFile = config.machinist.keys.units.k3s.files.${token}.key;
      extraFlags = [
        "--node-name=${node.name}"
        "--node-ip=${lib.concatStringsSep "," addresses}"
      ]
      # By name if it is known; else it is found by the node's address when k3s starts.
      ++ lib.optional (network.interface != null) "--flannel-iface=${network.interface}"
      ++ lib.mapAttrsToList (key: value: "--node-label=${key}=${value}") node.labels
      ++ map (taint: "--node-taint=${taint}") cfg.taints;
    };

    # Files beside a user's configPath, which is often in the store, cannot be written.
    systemd.services.k3s =
      lib.mkIf (network.interface == null && config.services.k3s.configPath == null)
        {
          path = [ pkgs.iproute2 ];
          preStart = ''
            ADDRESS=${network.address} FILE=/etc/rancher/k3s/config.yaml.d/90-machinist-interface.yaml
            ${lib.readFile ./flannel-interface.sh}
          '';
        };

    # k3s issues its own certificates with a lifetime of a year, and renews them only when it starts
    # (docs.k3s.io, "k3s certificate").
    machinist.certificates.files = [
      "/var/lib/rancher/k3s/agent/*.crt"
      "/var/lib/rancher/k3s/server/tls/*.crt"
      "/var/lib/rancher/k3s/server/tls/etcd/*.crt"
    ];

    machinist.keys.units.k3s.keyPairs = [
      "k3s-agent-token"
    ]
    ++ lib.optional isServer "k3s-server-token";

    assertions = [
      {
        assertion = config.services.k3s.token == "" && config.services.k3s.agentToken == "";
        message =
          "services.k3s.token or agentToken is set on ${node.name}: it would be in the store, which everyone can read. "
          + "Remove it; `machinist certs gen` makes the tokens.";
      }
      {
        assertion = cfg.servers != { };
        message =
          "machinist.k3s.servers of ${node.name} is empty: give a machine the role \"control-plane\" in machines.nix and "
          + "run `machinist generate`.";
      }
      {
        assertion = config.swapDevices == [ ];
        message = "swapDevices is set on ${node.name}, and k3s' embedded kubelet does not start with swap: remove it.";
      }
    ];
  };
}
