# The kubelet of every node, identified by the node's name and no other: the Node authorizer grants
# permissions by that name.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network node;
  inherit (config.lib.machinist) pki;

  taint =
    text:
    let
      parts = builtins.match "([^=:]+)(=([^=:]*))?:(.*)" text;
      value = lib.elemAt parts 2;
      effect = lib.elemAt parts 3;
      key = lib.head parts;
    in
    # A key may occur once per effect.
    lib.nameValuePair "${key}:${effect}" {
      inherit key effect;
      value = if value == null then "" else value;
    };
in
{
  config = lib.mkIf (cfg.enable && cfg.nodeComponents) {
    services.kubernetes.kubelet = {
      enable = true;
      # NixOS' default includes the domain here, but not for kube-proxy.
      hostname = node.name;
      nodeIp = network.address;
      clusterDns = [ cfg.dns ];
      clusterDomain = cfg.clusterDomain;
      kubeconfig = {
        inherit (cfg) server;
        certFile = pki.certificate "kubelet-client";
        keyFile = pki.key "kubelet-client";
      };
      # Without them the kubelet signs its own certificate, which the API server refuses: no logs,
      # no exec.
      tlsCertFile = pki.certificate "kubelet";
      tlsKeyFile = pki.key "kubelet";
      taints = lib.listToAttrs (map taint cfg.taints);
      # NixOS' default is true on every node without `roles`, and its taint would keep CoreDNS and
      # all other pods away.
      unschedulable = false;
    };

    # Overrides the true of NixOS' services.kubernetes, which makes the API server's user the owner
    # of the kubelet's directory: that user could then place files there that root mounts and
    # executes.
    users.users.kubernetes.createHome = lib.mkOverride 90 false;
    systemd.tmpfiles.rules = [ "z ${config.services.kubernetes.dataDir} 0755 root root -" ];

    # Read directly: a unit with credentials may get its own mount namespace, and the container
    # runtime must see the kubelet's mounts.
    machinist.keys.root = [
      "kubelet"
      "kubelet-client"
    ];
    systemd.services.kubelet = {
      wants = [ "machinist-keys.service" ];
      after = [ "machinist-keys.service" ];
    };

    assertions = [
      {
        assertion =
          config.services.kubernetes.kubelet.hostname == node.name
          && config.services.kubernetes.proxy.hostname == node.name
          && config.services.flannel.nodeName == node.name;
        message =
          "services.kubernetes.kubelet.hostname, services.kubernetes.proxy.hostname and services.flannel.nodeName of "
          + "${node.name} must all be the node's name, which its certificate has. Remove what sets another.";
      }
      {
        assertion =
          config.swapDevices == [ ]
          || config.services.kubernetes.kubelet.extraConfig.failSwapOn or true == false;
        message =
          "${node.name} has swap, with which the kubelet does not start: remove swapDevices, or set "
          + "services.kubernetes.kubelet.extraConfig.failSwapOn = false.";
      }
    ];
  };
}
