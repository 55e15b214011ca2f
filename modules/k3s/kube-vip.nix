# kube-vip as a DaemonSet on the servers: it assigns the API's virtual address to a server whose API
# answers, by BGP from each of them or by ARP from an elected one. k3s applies it from every
# server's manifests, which are the same on all of them.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  inherit (cfg) endpoint;
  inherit (config.lib.machinist.kubeVip endpoint) common hasPassword modes;
  hasServices = cfg.serviceLoadBalancer == "kube-vip";
  isServer = cfg.enable && cfg.role == "server";

  plain = lib.mapAttrsToList (name: value: { inherit name value; }) (
    common // modes.${endpoint.vip.mode} // { svc_enable = lib.boolToString hasServices; }
  );
  # One manifest for all servers: differences are read from the pod's node.
  ofNode = name: fieldPath: {
    inherit name;
    valueFrom.fieldRef = { inherit fieldPath; };
  };
  env =
    plain
    ++ [ (ofNode "vip_nodename" "spec.nodeName") ]
    ++ lib.optional (endpoint.vip.mode == "bgp") (ofNode "bgp_routerid" "status.hostIP");

  metadata = {
    name = "kube-vip";
    namespace = "kube-system";
  };
  rule = apiGroups: resources: verbs: { inherit apiGroups resources verbs; };
  account = {
    apiVersion = "v1";
    kind = "ServiceAccount";
    inherit metadata;
  };
  role = {
    apiVersion = "rbac.authorization.k8s.io/v1";
    kind = "ClusterRole";
    metadata.name = "machinist:kube-vip";
    rules = [
      (rule [ "" ] [ "services/status" ] [ "update" ])
      (rule [ "" ] [ "services" "endpoints" ] [ "list" "get" "watch" "update" ])
      (rule [ "" ] [ "nodes" ] [ "list" "get" "watch" "update" "patch" ])
      (rule [ "coordination.k8s.io" ] [ "leases" ] [ "list" "get" "watch" "update" "create" ])
      (rule [ "discovery.k8s.io" ] [ "endpointslices" ] [ "list" "get" "watch" "update" ])
    ];
  };
  binding = {
    apiVersion = "rbac.authorization.k8s.io/v1";
    kind = "ClusterRoleBinding";
    metadata.name = "machinist:kube-vip";
    roleRef = {
      apiGroup = "rbac.authorization.k8s.io";
      kind = "ClusterRole";
      name = "machinist:kube-vip";
    };
    subjects = [
      {
        kind = "ServiceAccount";
        inherit (metadata) name namespace;
      }
    ];
  };
  daemonSet = {
    apiVersion = "apps/v1";
    kind = "DaemonSet";
    inherit metadata;
    spec = {
      selector.matchLabels.name = "kube-vip";
      template = {
        metadata.labels.name = "kube-vip";
        spec = {
          affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms = [
            {
              matchExpressions = [
                {
                  key = "node-role.kubernetes.io/control-plane";
                  operator = "Exists";
                }
              ];
            }
          ];
          containers = [
            (
              {
                name = "kube-vip";
                image = cfg.kubeVip.image;
                imagePullPolicy = "IfNotPresent";
                # kube-vip reads its variable `config_file` too late for it to have an effect
                # (1.2.2).
                args = [ "manager" ] ++ lib.optional hasPassword "--config-file=/etc/kube-vip/bgp.json";
                inherit env;
                securityContext.capabilities = {
                  add = [
                    "NET_ADMIN"
                    "NET_RAW"
                  ];
                  drop = [ "ALL" ];
                };
              }
              // lib.optionalAttrs hasPassword {
                volumeMounts = [
                  {
                    name = "bgp";
                    mountPath = "/etc/kube-vip/bgp.json";
                    readOnly = true;
                  }
                ];
              }
            )
          ];
          hostNetwork = true;
          priorityClassName = "system-node-critical";
          serviceAccountName = "kube-vip";
          tolerations = [
            {
              effect = "NoSchedule";
              operator = "Exists";
            }
            {
              effect = "NoExecute";
              operator = "Exists";
            }
          ];
        }
        // lib.optionalAttrs hasPassword {
          volumes = [
            {
              name = "bgp";
              hostPath = {
                path = config.machinist.bgpPassword.file;
                type = "File";
              };
            }
          ];
        };
      };
    };
  };
in
{
  options.machinist.k3s.kubeVip.image = lib.mkOption {
    type = lib.types.str;
    default = "ghcr.io/kube-vip/kube-vip:v1.2.2";
    description = ''
      Image of kube-vip. If nodes reach no registry, add an image of this name to {option}`services.k3s.images`.
    '';
  };

  config = lib.mkIf isServer {
    machinist.bgpPassword = lib.mkIf hasPassword {
      enable = true;
      peer = {
        address = endpoint.vip.router;
        as = endpoint.vip.routerAs;
      };
    };

    services.k3s.manifests.kube-vip = lib.mkIf (endpoint != null && endpoint.vip != null) {
      content = [
        account
        role
        binding
        daemonSet
      ];
    };

    assertions = [
      {
        assertion = hasServices -> endpoint != null && endpoint.vip != null;
        message =
          "machinist.k3s.serviceLoadBalancer is \"kube-vip\" on ${config.machinist.node.name}, but kube-vip is not set up "
          + "without a virtual address of its own: write kubeMaster in machines.nix, without mode = \"external\", or choose \"servicelb\".";
      }
    ];
  };
}
