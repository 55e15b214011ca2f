# flannel on every node, with Kubernetes as its store, and the CNI configuration of pods. NixOS' own
# services.kubernetes.flannel would open its ports to everyone, and does not support hostPort.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network node;
  inherit (config.lib.machinist.types) isIPv6;
  inherit (config.lib.machinist) pki;

  podRanges = lib.partition isIPv6 cfg.pods;
  curl = lib.escapeShellArgs [
    "${pkgs.curl}/bin/curl"
    "--silent"
    "--show-error"
    "--output"
    "/dev/null"
    "--fail"
    "--noproxy"
    "*"
    "--max-time"
    "5"
    "--cacert"
    (pki.authority "kubernetes")
    "--cert"
    (pki.certificate "flannel-client")
    "--key"
    (pki.key "flannel-client")
    "${cfg.server}/api/v1/nodes?limit=1"
  ];
  # Asked each second: flannel itself asks again after up to a minute, while pods wait for it. In a new
  # cluster its permission comes with the first objects, and after a power failure all API servers
  # are late. It ends after ten minutes, as flannel's own wait does.
  start = pkgs.writeShellScript "flannel-when-permitted" ''
    for ((second = 0; second < 600; second++)); do
      if answer=$(${curl} 2>&1); then
        exec ${config.services.flannel.package}/bin/flannel
      fi
      if ((second % 30 == 0)); then
        echo "waiting until the API server lists nodes to flannel: $answer" >&2
      fi
      ${pkgs.coreutils}/bin/sleep 1
    done
    exit 1
  '';
  backends = {
    vxlan.Type = "vxlan";
    host-gw.Type = "host-gw";
    wireguard = {
      Type = "wireguard";
      PersistentKeepaliveInterval = 25;
    };
  };
in
{
  config = lib.mkIf (cfg.enable && cfg.nodeComponents) {
    services.flannel = {
      enable = true;
      storageBackend = "kubernetes";
      nodeName = node.name;
      # By address: the default is the interface of the default route, which is often another one.
      iface = network.address;
      publicIp = network.address;
      network = if podRanges.wrong == [ ] then "0.0.0.0/0" else lib.head podRanges.wrong;
      backend = backends.${cfg.overlay};
      extraNetworkConfig = lib.mkIf (podRanges.right != [ ]) {
        EnableIPv4 = podRanges.wrong != [ ];
        EnableIPv6 = true;
        IPv6Network = lib.head podRanges.right;
      };
      kubeconfig = config.services.kubernetes.lib.mkKubeConfig "flannel" {
        inherit (cfg) server;
        caFile = pki.authority "kubernetes";
        certFile = pki.certificate "flannel-client";
        keyFile = pki.key "flannel-client";
      };
    };

    services.kubernetes.kubelet.cni.configDir = pkgs.writeTextDir "10-flannel.conflist" (
      builtins.toJSON {
        cniVersion = "0.3.1";
        name = "cbr0";
        plugins = [
          {
            type = "flannel";
            delegate = {
              bridge = "cni0";
              hairpinMode = true;
              isDefaultGateway = true;
            };
          }
          {
            # Implements the hostPort of pods.
            type = "portmap";
            capabilities.portMappings = true;
          }
        ];
      }
    );

    networking.dhcpcd.denyInterfaces = [
      "cni*"
      "flannel*"
      "veth*"
    ];

    machinist.keys.root = [ "flannel-client" ];
    systemd.services.flannel = {
      wants = [ "machinist-keys.service" ];
      after = [ "machinist-keys.service" ];
      # Else the CNI plugin masquerades what leaves the node's own part of the pods' range: a pod on another
      # node would see this node's address instead of its peer's.
      environment.FLANNELD_IP_MASQ = "true";
      serviceConfig = {
        ExecStart = lib.mkForce "${start}";
        SyslogIdentifier = "flannel";
      };
    };
  };
}
