# services.kubernetes.kubelet, with the flags and the configuration file of NixOS. The image of the
# pods' own container, which NixOS builds and imports, is the importer's to give.
{
  config,
  lib,
  pkgs,
  options,
  ...
}:
let
  inherit (lib) types;
  k8s = import ./lib.nix {
    inherit
      lib
      pkgs
      config
      options
      ;
  };
  top = config.services.kubernetes;
  cfg = top.kubelet;

  cniConfig =
    if cfg.cni.config != [ ] && cfg.cni.configDir != null then
      throw "Verbatim CNI-config and CNI configDir cannot both be set."
    else if cfg.cni.configDir != null then
      cfg.cni.configDir
    else
      pkgs.buildEnv {
        name = "kubernetes-cni-config";
        paths = lib.imap0 (
          i: entry: pkgs.writeTextDir "${toString (11 + i)}-${entry.type}.conf" (builtins.toJSON entry)
        ) cfg.cni.config;
      };

  # extraConfig replaces whole entries, as in NixOS.
  kubeletConfig = pkgs.writeText "kubelet-config" (
    builtins.toJSON (
      {
        kind = "KubeletConfiguration";
        apiVersion = "kubelet.config.k8s.io/v1beta1";
        inherit (cfg)
          address
          port
          registerNode
          containerRuntimeEndpoint
          ;
        authentication = {
          x509 = lib.optionalAttrs (cfg.clientCaFile != null) { clientCAFile = cfg.clientCaFile; };
          webhook.enabled = true;
          webhook.cacheTTL = "10s";
        };
        authorization.mode = "Webhook";
        cgroupDriver = "systemd";
        hairpinMode = "hairpin-veth";
        healthzBindAddress = cfg.healthz.bind;
        healthzPort = cfg.healthz.port;
      }
      // lib.optionalAttrs (cfg.tlsCertFile != null) { inherit (cfg) tlsCertFile; }
      // lib.optionalAttrs (cfg.tlsKeyFile != null) { tlsPrivateKeyFile = cfg.tlsKeyFile; }
      // lib.optionalAttrs (cfg.clusterDomain != "") { inherit (cfg) clusterDomain; }
      // lib.optionalAttrs (cfg.clusterDns != [ ]) { clusterDNS = cfg.clusterDns; }
      // lib.optionalAttrs (cfg.featureGates != { }) { inherit (cfg) featureGates; }
      // cfg.extraConfig
    )
  );

  taints = lib.concatMapStringsSep "," (taint: "${taint.key}=${taint.value}:${taint.effect}") (
    lib.attrValues cfg.taints
  );
  taint =
    { name, ... }:
    {
      options = {
        key = lib.mkOption {
          type = types.str;
          default = name;
          defaultText = lib.literalMD "Name of this submodule.";
          description = "Key of the taint.";
        };
        value = k8s.required types.str "Value of the taint.";
        effect = k8s.required (types.enum [
          "NoSchedule"
          "PreferNoSchedule"
          "NoExecute"
        ]) "Effect of the taint.";
      };
    };
in
{
  options.services.kubernetes.kubelet = {
    enable = lib.mkEnableOption "Kubernetes kubelet";
    address = k8s.text "0.0.0.0" "Address to listen on.";
    clientCaFile = k8s.caFile "Authority of clients.";
    clusterDns = k8s.option (types.listOf types.str) [ "10.1.0.1" ] "Name servers of pods.";
    clusterDomain = lib.mkOption {
      type = types.str;
      default = top.addons.dns.clusterDomain;
      defaultText = lib.literalExpression "config.services.kubernetes.addons.dns.clusterDomain";
      description = "Domain of services.";
    };
    cni = {
      config = k8s.option (types.listOf types.attrs) [ ] "CNI configurations.";
      configDir = k8s.file "Directory of CNI configurations.";
      packages = k8s.option (types.listOf types.package) [ ] "Packages with CNI plugins.";
    };
    containerRuntimeEndpoint = k8s.text "unix:///run/containerd/containerd.sock" "Socket of the container runtime.";
    extraConfig = k8s.option (types.attrsOf
      (pkgs.formats.json { }).type
    ) { } "More of the configuration file.";
    inherit (k8s) extraOpts featureGates verbosity;
    healthz.bind = k8s.text "127.0.0.1" "Address of the health check.";
    healthz.port = k8s.option types.port 10248 "Port of the health check.";
    hostname = k8s.required types.str "The node's name.";
    kubeconfig = k8s.kubeconfig "the kubelet";
    manifests = k8s.option (types.attrsOf types.attrs) { } "Static pods.";
    nodeIp = k8s.option (types.nullOr types.str) null "The node's address.";
    port = k8s.option types.port 10250 "Port to listen on.";
    registerNode = k8s.flag true "Whether the kubelet registers the node.";
    seedDockerImages = k8s.option (types.listOf types.package) [ ] "Images to import.";
    taints = k8s.option (types.attrsOf (types.submodule [ taint ])) { } "Taints of the node.";
    tlsCertFile = k8s.file "Serving certificate.";
    tlsKeyFile = k8s.file "Serving key.";
    unschedulable = k8s.flag false "Whether the node takes no pods.";
  };

  config = lib.mkIf cfg.enable {
    boot.kernelModules = [
      "br_netfilter"
      "overlay"
    ];
    boot.kernel.sysctl = {
      "net.bridge.bridge-nf-call-iptables" = 1;
      "net.bridge.bridge-nf-call-ip6tables" = 1;
      "net.ipv4.ip_forward" = 1;
    };
    environment.etc = {
      "cni/net.d".source = cniConfig;
    }
    // lib.mapAttrs' (
      name: manifest:
      lib.nameValuePair "kubernetes/manifests/${name}.json" {
        text = builtins.toJSON manifest;
        mode = "0755";
      }
    ) cfg.manifests;

    services.kubernetes.kubelet = {
      cni.packages = [
        pkgs.cni-plugins
        pkgs.cni-plugin-flannel
      ];
      hostname = lib.mkDefault (lib.toLower config.networking.fqdnOrHostName);
      kubeconfig.server = lib.mkDefault top.apiserverAddress;
      clusterDns = lib.mkIf top.addons.dns.enable (lib.mkDefault [ top.addons.dns.clusterIp ]);
      taints = lib.mkIf cfg.unschedulable {
        unschedulable = {
          value = "true";
          effect = "NoSchedule";
        };
      };
    };

    systemd.services.kubelet = k8s.unit // {
      description = "Kubernetes Kubelet Service";
      after = [
        "containerd.service"
        "network.target"
        "kube-apiserver.service"
      ];
      path = [
        pkgs.iproute2
        pkgs.iptables
        pkgs.socat
        pkgs.util-linux
      ]
      ++ top.path;
      preStart = ''
        ${lib.concatMapStrings (image: ''
          echo "Seeding container image: ${image}"
          ${
            if lib.hasSuffix "gz" image then
              ''${pkgs.gzip}/bin/zcat "${image}" | ${pkgs.containerd}/bin/ctr -n k8s.io image import -''
            else
              ''${pkgs.coreutils}/bin/cat "${image}" | ${pkgs.containerd}/bin/ctr -n k8s.io image import -''
          }
        '') cfg.seedDockerImages}

        rm /opt/cni/bin/* || true
        ${lib.concatMapStrings (package: ''
          ln -fs ${package}/bin/* /opt/cni/bin
        '') cfg.cni.packages}
      '';
      serviceConfig = k8s.serviceConfig // {
        MemoryAccounting = true;
        RestartSec = "1000ms";
        ExecStart = k8s.command "kubelet" [
          (k8s.always "config" kubeletConfig)
          (k8s.always "hostname-override" cfg.hostname)
          (k8s.always "kubeconfig" (k8s.mkKubeConfig "kubelet" cfg.kubeconfig))
          (k8s.given "node-ip" cfg.nodeIp)
          (lib.optional (cfg.manifests != { }) "--pod-manifest-path=/etc/kubernetes/manifests")
          (lib.optional (taints != "") "--register-with-taints=${taints}")
          (k8s.always "root-dir" top.dataDir)
          (k8s.given "v" cfg.verbosity)
          (k8s.raw cfg.extraOpts)
        ];
      };
    };
  };
}
