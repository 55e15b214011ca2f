# services.kubernetes: the options that all components share. `roles` and `easyCerts` are declared,
# so that a module can disable them; they have no effect here.
{
  config,
  lib,
  pkgs,
  options,
  ...
}:
let
  inherit (lib) mkOption types;
  k8s = import ./lib.nix { inherit lib pkgs config options; };
  cfg = config.services.kubernetes;
  components = [
    cfg.apiserver.enable
    cfg.scheduler.enable
    cfg.controllerManager.enable
    cfg.kubelet.enable
    cfg.proxy.enable
    cfg.addonManager.enable
  ];
in
{
  imports = [
    ./apiserver.nix
    ./controller-manager.nix
    ./kubelet.nix
    ./proxy.nix
    ./scheduler.nix
  ];

  options.services.kubernetes = {
    package = lib.mkPackageOption pkgs "kubernetes" { };
    apiserverAddress = k8s.required types.str "URL of the API server.";
    masterAddress = k8s.required types.str "Address of the API server.";
    caFile = k8s.file "Authority of Kubernetes.";
    clusterCidr = k8s.option (types.nullOr types.str) "10.1.0.0/16" "Range of the pods.";
    dataDir = k8s.option types.path "/var/lib/kubernetes" "Where the kubelet keeps its files.";
    easyCerts = k8s.flag false "Whether NixOS makes the certificates; not here.";
    featureGates = k8s.option (types.attrsOf types.bool) { } "Feature gates of all components.";
    kubeconfig = k8s.kubeconfig "people";
    lib = mkOption {
      type = types.attrs;
      default = { inherit (k8s) mkKubeConfig; };
      description = "Functions for other modules.";
    };
    path = k8s.option (types.listOf types.package) [ ] "Packages in the services' PATH.";
    roles = k8s.option (types.listOf (types.enum [ "master" "node" ])) [ ] "Roles of NixOS; without effect here.";
    secretsPath = mkOption {
      type = types.path;
      default = cfg.dataDir + "/secrets";
      defaultText = lib.literalExpression "config.services.kubernetes.dataDir + \"/secrets\"";
      description = "Directory of NixOS' own certificates.";
    };
    addonManager.enable = k8s.flag false "Whether the addon manager runs; not here.";
    addons.dns = {
      enable = k8s.flag false "Whether NixOS' own objects for CoreDNS exist; not here.";
      clusterDomain = k8s.text "cluster.local" "Domain of the services.";
      clusterIp = mkOption {
        type = types.str;
        # As in NixOS: three numbers of the range, and .254.
        default =
          lib.concatStringsSep "." (lib.take 3 (lib.splitString "." cfg.apiserver.serviceClusterIpRange))
          + ".254";
        defaultText = lib.literalMD "The `x.y.z.254` address of the service range.";
        description = "Address of the DNS service.";
      };
    };
    flannel = {
      enable = k8s.flag false "Whether NixOS' own flannel for Kubernetes runs; not here.";
      openFirewallPorts = k8s.flag true "Whether flannel's ports are open to everyone.";
    };
  };

  config = lib.mkMerge [
    # As in NixOS: also true without roles.
    (lib.mkIf (lib.all (role: role == "master") cfg.roles) {
      services.kubernetes.kubelet.unschedulable = lib.mkDefault true;
    })
    (lib.mkIf cfg.kubelet.enable {
      virtualisation.containerd = {
        enable = lib.mkDefault true;
        settings = lib.mapAttrsRecursive (_: lib.mkDefault) {
          version = 2;
          root = "/var/lib/containerd";
          state = "/run/containerd";
          oom_score = 0;
          grpc.address = "/run/containerd/containerd.sock";
          plugins."io.containerd.grpc.v1.cri" = {
            sandbox_image = "docker.io/library/pause:latest";
            cni.bin_dir = "/opt/cni/bin";
            cni.max_conf_num = 0;
            containerd.runtimes.runc = {
              runtime_type = "io.containerd.runc.v2";
              options.SystemdCgroup = true;
            };
          };
        };
      };
    })
    (lib.mkIf cfg.apiserver.enable {
      services.kubernetes.apiserver.etcd.servers = lib.mkDefault [ "https://${cfg.masterAddress}:2379" ];
    })
    (lib.mkIf (lib.any (on: on) components) {
      services.kubernetes.addons.dns.enable = lib.mkDefault true;
      # As in NixOS: without the port if an address is advertised.
      services.kubernetes.apiserverAddress = lib.mkDefault "https://${
        if cfg.apiserver.advertiseAddress != null then
          cfg.apiserver.advertiseAddress
        else
          "${cfg.masterAddress}:${toString cfg.apiserver.securePort}"
      }";
      systemd.targets.kubernetes = {
        description = "Kubernetes";
        wantedBy = [ "multi-user.target" ];
      };
      systemd.tmpfiles.rules = [
        "d /opt/cni/bin 0755 root root -"
        "d /run/kubernetes 0755 kubernetes kubernetes -"
        "d ${cfg.dataDir} 0755 kubernetes kubernetes -"
      ];
      users.users.kubernetes = {
        uid = 162;
        group = "kubernetes";
        description = "Kubernetes user";
        home = cfg.dataDir;
        homeMode = "755";
        createHome = true;
      };
      users.groups.kubernetes.gid = 162;
      assertions = [
        {
          assertion = !cfg.easyCerts && cfg.roles == [ ] && !cfg.addonManager.enable && !cfg.flannel.enable;
          message = "nixos-lite has none of what sets Kubernetes up by itself (roles, certificates, addons, flannel).";
        }
      ];
    })
  ];
}
