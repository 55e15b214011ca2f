# Values for the tests of Kubernetes: the flags of every component on the sample's nodes.
{
  lib,
  inputs,
}:
let
  cluster = import ../../nix/cluster.nix {
    root = ./kubernetes;
    inherit inputs;
  };
  inherit (cluster.nixosConfigurations) cp1 w1;
  with' = system: module: system.extendModules { modules = [ module ]; };
  failed =
    system: map (entry: entry.message) (lib.filter (entry: !entry.assertion) system.config.assertions);

  read = file: builtins.fromJSON (builtins.unsafeDiscardStringContext file.text);
  # Splits a command line into words.
  words = text: lib.filter (word: lib.isString word && word != "") (builtins.split "[ \\\n]+" text);
  components = [
    "flannel"
    "kube-apiserver"
    "kube-controller-manager"
    "kube-proxy"
    "kube-scheduler"
    "kubelet"
  ];

  view =
    system:
    let
      inherit (system) config;
      inherit (config.services) kubernetes;
      present = lib.filter (name: config.systemd.services ? ${name}) components;
      unit = name: config.systemd.services.${name};
      kubeconfig = name: conf: read (kubernetes.lib.mkKubeConfig name conf);
    in
    {
      failed = failed system;
      inherit (config) warnings;
      units = present;
      flags = lib.genAttrs present (name: lib.tail (words (unit name).serviceConfig.ExecStart));
      credentials = lib.genAttrs present (name: (unit name).serviceConfig.LoadCredential or [ ]);
      after = lib.genAttrs present (name: (unit name).after);
      rootKeys = lib.naturalSort config.machinist.keys.root;
      kubeconfigs =
        lib.optionalAttrs kubernetes.controllerManager.enable {
          controller-manager = kubeconfig "cm" kubernetes.controllerManager.kubeconfig;
        }
        // lib.optionalAttrs kubernetes.scheduler.enable {
          scheduler = kubeconfig "scheduler" kubernetes.scheduler.kubeconfig;
        }
        // {
          kubelet = kubeconfig "kubelet" kubernetes.kubelet.kubeconfig;
          proxy = kubeconfig "proxy" kubernetes.proxy.kubeconfig;
          flannel = read config.services.flannel.kubeconfig;
        };
      names = [
        kubernetes.kubelet.hostname
        kubernetes.proxy.hostname
        config.services.flannel.nodeName
      ];
      kubelet = {
        inherit (kubernetes.kubelet)
          clusterDns
          clusterDomain
          nodeIp
          tlsCertFile
          tlsKeyFile
          clientCaFile
          taints
          unschedulable
          manifests
          ;
      };
      inherit (kubernetes) apiserverAddress;
      serviceRange = kubernetes.apiserver.serviceClusterIpRange;
      cni = read kubernetes.kubelet.cni.configDir;
      cniDir = toString config.environment.etc."cni/net.d".source;
      containerdTriggers = map toString config.systemd.services.containerd.restartTriggers;
      flannel = lib.filterAttrs (name: _: name != "PATH") config.systemd.services.flannel.environment;
      flannelPreStart = config.systemd.services.flannel.preStart;
      flannelNet = read config.environment.etc."kube-flannel/net-conf.json".source;
      etcd = lib.optionalAttrs config.services.etcd.enable {
        inherit (config.services.etcd) name initialCluster listenClientUrls;
      };
      etcdEnabled = config.services.etcd.enable;
      firewall = lib.splitString "\n" config.networking.firewall.extraInputRules;
      openTcp = config.networking.firewall.allowedTCPPorts;
      openUdp = config.networking.firewall.allowedUDPPorts;
      trusted = config.networking.firewall.trustedInterfaces;
      reversePath = config.networking.firewall.checkReversePath;
      sysctl = config.boot.kernel.sysctl;
      kernelModules = config.boot.kernelModules;
      version = config.environment.etc."machinist/kubernetes-version".text;
      knownVersions = config.machinist.kubernetes.versions;
      password =
        let
          inherit (config.systemd.services) machinist-bgp-password;
        in
        lib.optionalAttrs config.machinist.bgpPassword.enable {
          inherit (config.machinist.bgpPassword) file;
          inherit (machinist-bgp-password) before script;
          inherit (machinist-bgp-password.serviceConfig) LoadCredential RuntimeDirectoryMode UMask;
        };
      pki = lib.filter (lib.hasPrefix "machinist/pki/") (lib.attrNames config.environment.etc);
    };
  refused = module: failed (with' cp1 module);
in
{
  nodes = {
    cp1 = view cp1;
    w1 = view w1;
  };
  variants = {
    domain = view (with' cp1 { networking.domain = lib.mkForce "example.org"; });
    external = view (
      with' cp1 {
        machinist.etcd.enable = lib.mkForce false;
        machinist.kubernetes.etcdMembers = lib.mkForce [
          "10.13.13.20"
          "10.13.13.21"
        ];
      }
    );
    loadBalancer = view (with' cp1 { machinist.kubernetes.endpoint.vip = lib.mkForce null; });
    alone = view (with' cp1 { machinist.kubernetes.endpoint = lib.mkForce null; });
    arp = view (
      with' cp1 {
        machinist.network.interface = "eth0";
        machinist.kubernetes.endpoint.vip = lib.mkForce { mode = "arp"; };
      }
    );
    services = view (with' cp1 { machinist.kubernetes.kubeVip.services = true; });
    arpServices = view (
      with' cp1 {
        machinist.kubernetes.endpoint.vip = lib.mkForce { mode = "arp"; };
        machinist.kubernetes.kubeVip.services = true;
      }
    );
    password = view (
      with' cp1 {
        machinist.kubernetes.endpoint.vip.password = true;
        machinist.pki.keyPairs.bgp-password = {
          public = ./kubernetes/certs/shared/service-account.pub;
          key = "/var/lib/machinist/keys/bgp-password-0123456789abcdef.key";
        };
      }
    );
    otherPassword = view (
      with' cp1 {
        machinist.kubernetes.endpoint.vip.password = true;
        machinist.pki.keyPairs.bgp-password = {
          public = ./kubernetes/certs/shared/service-account.pub;
          key = "/var/lib/machinist/keys/bgp-password-fedcba9876543210.key";
        };
      }
    );
    withoutPods =
      let
        system = with' cp1 { machinist.kubernetes.nodeComponents = false; };
        services = system.config.systemd.services;
      in
      {
        failed = failed system;
        units = lib.filter (name: services ? ${name}) (components ++ [ "containerd" ]);
        inherit (system.config.machinist.keys) root;
      };
    plainText = view (
      with' cp1 {
        machinist.pki.keyPairs = lib.mkForce {
          service-account = {
            public = ./kubernetes/certs/shared/service-account.pub;
            key = "/var/lib/machinist/keys/service-account-0123456789abcdef.key";
          };
        };
      }
    );
    vxlan = view (with' w1 { machinist.kubernetes.overlay = lib.mkForce "vxlan"; });
    dual = view (
      with' w1 {
        machinist.kubernetes.pods = lib.mkForce [
          "10.42.0.0/16"
          "fd00:42::/48"
        ];
      }
    );
  };
  refused = {
    roles = refused { services.kubernetes.roles = [ "master" ]; };
    easyCerts = refused { services.kubernetes.easyCerts = lib.mkForce true; };
    addonManager = refused { services.kubernetes.addonManager.enable = true; };
    dns = refused { services.kubernetes.addons.dns.enable = lib.mkForce true; };
    unschedulable = refused { services.kubernetes.kubelet.unschedulable = lib.mkForce true; };
    ownFlannel = refused { services.kubernetes.flannel.enable = true; };
    advertised = refused {
      services.kubernetes.apiserver.advertiseAddress = lib.mkForce "10.13.100.1";
    };
    range = refused {
      services.kubernetes.apiserver.serviceClusterIpRange = lib.mkForce "10.0.0.0/24";
    };
    hostname = refused { services.kubernetes.proxy.hostname = lib.mkForce "cp1.magi.internal"; };
    swap = refused { swapDevices = [ { device = "/dev/sdb"; } ]; };
    swapAllowed = refused {
      swapDevices = [ { device = "/dev/sdb"; } ];
      services.kubernetes.kubelet.extraConfig.failSwapOn = false;
    };
    vipWithoutKubelet = refused {
      machinist.kubernetes.nodeComponents = false;
      machinist.kubernetes.kubeVip.enable = true;
    };
    version = refused { machinist.kubernetes.versions = lib.mkForce [ "1.99" ]; };
    anyVersion = refused { machinist.kubernetes.versions = lib.mkForce [ ]; };
    noEtcd = refused { machinist.kubernetes.etcdMembers = lib.mkForce [ ]; };
  };
  parameters =
    let
      ours = {
        "kernel.panic" = 5;
        "vm.overcommit_memory" = 1;
        "net.ipv6.conf.all.forwarding" = 1;
      };
      sysctl =
        priority: module:
        (with' module { boot.kernel.sysctl = lib.mapAttrs (_: priority) ours; }).config.boot.kernel.sysctl;
      dual = with' cp1 { machinist.network.nodes6 = "fd13::/64"; };
    in
    {
      nixos = sysctl lib.mkDefault dual;
      person = sysctl lib.id dual;
    };
  systems = [
    cp1
    w1
    (with' w1 { machinist.network.nodes6 = "fd13::/64"; })
    (with' w1 {
      machinist.kubernetes.pods = lib.mkForce [
        "10.42.0.0/16"
        "fd00:42::/48"
      ];
    })
  ];
}
