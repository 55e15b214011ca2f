# kube-vip as a static pod of every control plane: it assigns the API's virtual address to a control
# plane with a healthy API server, by BGP from each of them or by ARP from an elected one, and
# likewise the addresses of Services. The kubelet starts it without an API server.
{ config, lib, ... }:
let
  cfg = config.machinist.kubernetes.kubeVip;
  kubernetes = config.machinist.kubernetes;
  inherit (kubernetes) endpoint;
  inherit (config.machinist) network node;
  inherit (config.lib.machinist) pki;
  inherit (config.lib.machinist.kubeVip endpoint) common hasPassword modes;

  # Paths in the container, which sees no other files of the node.
  inside = "/etc/kube-vip";
  files = {
    "ca.pem" = pki.authority "kubernetes";
    "client.pem" = pki.certificate "kube-vip-client";
    "client.key" = pki.key "kube-vip-client";
    "kubeconfig" = config.services.kubernetes.lib.mkKubeConfig "kube-vip" {
      # localhost, not the virtual address, which exists only once kube-vip runs.
      server = kubernetes.localServer;
      caFile = "${inside}/ca.pem";
      certFile = "${inside}/client.pem";
      keyFile = "${inside}/client.key";
    };
  }
  // lib.optionalAttrs hasPassword { "bgp.json" = config.machinist.bgpPassword.file; };
  volume = lib.replaceStrings [ "." ] [ "-" ];

  own = {
    svc_enable = lib.boolToString cfg.services;
    k8s_config_file = "${inside}/kubeconfig";
  }
  # Services may be of another family than the API's address.
  // lib.optionalAttrs cfg.services { vip_subnet = "32,128"; };
  ownOfMode = {
    bgp = {
      # Unique per node: the Router cannot have two neighbors with the same identifier.
      bgp_routerid = network.address;
      # An API server that is unhealthy for three seconds is withdrawn.
      control_plane_health_check_address = "https://localhost:${toString endpoint.port}/livez";
      control_plane_health_check_ca_path = "${inside}/ca.pem";
      control_plane_health_check_period_seconds = "1";
      control_plane_health_check_timeout_seconds = "1";
      control_plane_health_check_failure_threshold = "3";
    };
    arp =
      lib.optionalAttrs (network.interface != null) { vip_interface = network.interface; }
      # One lease for each Service: the addresses are spread over the control planes, and with
      # `externalTrafficPolicy: Local` only one that runs a pod of the Service is elected.
      // lib.optionalAttrs cfg.services { svc_election = "true"; };
  };

  env = lib.mapAttrsToList (name: value: { inherit name value; }) (
    common // own // modes.${endpoint.vip.mode} // ownOfMode.${endpoint.vip.mode}
  );
in
{
  options.machinist.kubernetes.kubeVip = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = endpoint != null && endpoint.vip != null && kubernetes.nodeComponents;
      defaultText = lib.literalExpression "whether the node is a control plane with a virtual address";
      description = "Runs kube-vip on this node.";
    };

    image = lib.mkOption {
      type = lib.types.str;
      # The first version that accepts a kubeconfig at another path, and that announces nothing
      # before the API server is healthy.
      default = "ghcr.io/kube-vip/kube-vip:v1.2.2";
      description = ''
        Image of kube-vip. If nodes reach no registry, add an image of this name to
        {option}`services.kubernetes.kubelet.seedDockerImages`.
      '';
    };

    services = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Announces the addresses of Services of type LoadBalancer too.";
    };
  };

  config = lib.mkIf (kubernetes.enable && kubernetes.controlPlane && cfg.enable) {
    # A deploy reads the address to find its holder, which changes last.
    environment.etc."machinist/virtual-address".text = "${endpoint.address}\n";

    services.kubernetes.kubelet.manifests.kube-vip = {
      apiVersion = "v1";
      kind = "Pod";
      metadata = {
        name = "kube-vip";
        namespace = "kube-system";
      };
      spec = {
        hostNetwork = true;
        priorityClassName = "system-node-critical";
        containers = [
          {
            name = "kube-vip";
            inherit (cfg) image;
            imagePullPolicy = "IfNotPresent";
            # kube-vip reads its variable `config_file` too late for it to have an effect (1.2.2).
            args = [ "manager" ] ++ lib.optional hasPassword "--config-file=${inside}/bgp.json";
            env = env ++ [
              {
                name = "vip_nodename";
                valueFrom.fieldRef.fieldPath = "spec.nodeName";
              }
            ];
            securityContext.capabilities = {
              add = [
                "NET_ADMIN"
                "NET_RAW"
              ];
              drop = [ "ALL" ];
            };
            volumeMounts = lib.mapAttrsToList (name: _: {
              name = volume name;
              mountPath = "${inside}/${name}";
              readOnly = true;
            }) files;
          }
        ];
        # With the type, a missing file is an error. Without it, an empty directory would be
        # created.
        volumes = lib.mapAttrsToList (name: path: {
          name = volume name;
          hostPath = {
            path = "${path}";
            type = "File";
          };
        }) files;
      };
    };

    machinist.keys.root = [ "kube-vip-client" ];
    machinist.bgpPassword = lib.mkIf hasPassword {
      enable = true;
      peer = {
        address = endpoint.vip.router;
        as = endpoint.vip.routerAs;
      };
    };

    assertions = [
      {
        assertion = kubernetes.nodeComponents;
        message =
          "machinist.kubernetes.kubeVip.enable is true on ${node.name}, which has no kubelet to run it: set "
          + "machinist.kubernetes.nodeComponents, or remove it.";
      }
      {
        assertion = endpoint != null && endpoint.vip != null;
        message =
          "machinist.kubernetes.kubeVip.enable is true on ${node.name}, but the cluster has no virtual address: write "
          + "kubeMaster in machines.nix and run `machinist generate`, or remove it.";
      }
    ];
  };
}
