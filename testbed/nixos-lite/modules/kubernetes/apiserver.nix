# services.kubernetes.apiserver, with the flags of NixOS in NixOS' order.
{
  config,
  lib,
  pkgs,
  options,
  ...
}:
let
  inherit (lib) types;
  k8s = import ./lib.nix { inherit lib pkgs config options; };
  top = config.services.kubernetes;
  cfg = top.apiserver;
  modes = [ "AlwaysAllow" "AlwaysDeny" "ABAC" "Webhook" "RBAC" "Node" ];
in
{
  options.services.kubernetes.apiserver = {
    enable = lib.mkEnableOption "Kubernetes apiserver";
    advertiseAddress = k8s.option (types.nullOr types.str) null "Address told to the cluster.";
    allowPrivileged = k8s.flag false "Whether containers may be privileged.";
    apiAudiences = k8s.text "api,https://kubernetes.default.svc" "Audiences of tokens.";
    authorizationMode = k8s.option (types.listOf (types.enum modes)) [ "RBAC" "Node" ] "Authorizers.";
    bindAddress = k8s.text "0.0.0.0" "Address to listen on.";
    clientCaFile = k8s.caFile "Authority of clients.";
    disableAdmissionPlugins = k8s.option (types.listOf types.str) [ ] "Admission plugins not to use.";
    enableAdmissionPlugins = k8s.option (types.listOf types.str) [
      "NamespaceLifecycle"
      "LimitRanger"
      "ServiceAccount"
      "ResourceQuota"
      "DefaultStorageClass"
      "DefaultTolerationSeconds"
      "NodeRestriction"
    ] "Admission plugins to use.";
    etcd = {
      # Kubernetes' authority, as in NixOS: not that of etcd.
      caFile = k8s.caFile "Authority of etcd.";
      certFile = k8s.file "Client certificate for etcd.";
      keyFile = k8s.file "Client key for etcd.";
      servers = k8s.option (types.listOf types.str) [ "http://127.0.0.1:2379" ] "Members of etcd.";
    };
    inherit (k8s) extraOpts featureGates verbosity;
    kubeletClientCaFile = k8s.caFile "Authority of kubelets.";
    kubeletClientCertFile = k8s.file "Client certificate for kubelets.";
    kubeletClientKeyFile = k8s.file "Client key for kubelets.";
    preferredAddressTypes = k8s.option (types.nullOr types.str) null "Order of a node's addresses.";
    proxyClientCertFile = k8s.file "Client certificate for extension API servers.";
    proxyClientKeyFile = k8s.file "Client key for extension API servers.";
    runtimeConfig = k8s.text "authentication.k8s.io/v1beta1=true" "APIs switched on and off.";
    securePort = k8s.option types.int 6443 "Port to listen on.";
    serviceAccountIssuer = k8s.text "https://kubernetes.default.svc" "Issuer of tokens.";
    serviceAccountKeyFile = k8s.required types.path "Keys that verify tokens.";
    serviceAccountSigningKeyFile = k8s.required types.path "Key that signs tokens.";
    serviceClusterIpRange = k8s.text "10.0.0.0/24" "Range of the services.";
    storageBackend = k8s.option (types.enum [ "etcd2" "etcd3" ]) "etcd3" "Storage backend.";
    tlsCertFile = k8s.file "Serving certificate.";
    tlsKeyFile = k8s.file "Serving key.";
  };

  config = lib.mkIf cfg.enable {
    services.etcd = lib.mapAttrs (_: lib.mkDefault) {
      name = top.masterAddress;
      clientCertAuth = true;
      peerClientCertAuth = true;
      listenClientUrls = [ "https://0.0.0.0:2379" ];
      listenPeerUrls = [ "https://0.0.0.0:2380" ];
      advertiseClientUrls = [ "https://${top.masterAddress}:2379" ];
      initialAdvertisePeerUrls = [ "https://${top.masterAddress}:2380" ];
      initialCluster = [ "${top.masterAddress}=https://${top.masterAddress}:2380" ];
    };

    systemd.services.kube-apiserver = k8s.unit // {
      description = "Kubernetes APIServer Service";
      after = [ "network.target" ];
      serviceConfig = k8s.asKubernetes // {
        RestartSec = 5;
        AmbientCapabilities = "cap_net_bind_service";
        ExecStart = k8s.command "kube-apiserver" [
          (k8s.bool "allow-privileged" cfg.allowPrivileged)
          (k8s.comma "authorization-mode" cfg.authorizationMode)
          (k8s.always "bind-address" cfg.bindAddress)
          (k8s.given "advertise-address" cfg.advertiseAddress)
          (k8s.given "client-ca-file" cfg.clientCaFile)
          (k8s.comma "disable-admission-plugins" cfg.disableAdmissionPlugins)
          (k8s.comma "enable-admission-plugins" cfg.enableAdmissionPlugins)
          (k8s.comma "etcd-servers" cfg.etcd.servers)
          (k8s.given "etcd-cafile" cfg.etcd.caFile)
          (k8s.given "etcd-certfile" cfg.etcd.certFile)
          (k8s.given "etcd-keyfile" cfg.etcd.keyFile)
          (k8s.gates cfg.featureGates)
          (k8s.given "kubelet-certificate-authority" cfg.kubeletClientCaFile)
          (k8s.given "kubelet-client-certificate" cfg.kubeletClientCertFile)
          (k8s.given "kubelet-client-key" cfg.kubeletClientKeyFile)
          (k8s.given "kubelet-preferred-address-types" cfg.preferredAddressTypes)
          (k8s.given "proxy-client-cert-file" cfg.proxyClientCertFile)
          (k8s.given "proxy-client-key-file" cfg.proxyClientKeyFile)
          (lib.optional (cfg.runtimeConfig != "") "--runtime-config=${cfg.runtimeConfig}")
          (k8s.always "secure-port" cfg.securePort)
          (k8s.always "api-audiences" cfg.apiAudiences)
          (k8s.always "service-account-issuer" cfg.serviceAccountIssuer)
          (k8s.always "service-account-signing-key-file" cfg.serviceAccountSigningKeyFile)
          (k8s.always "service-account-key-file" cfg.serviceAccountKeyFile)
          (k8s.always "service-cluster-ip-range" cfg.serviceClusterIpRange)
          (k8s.always "storage-backend" cfg.storageBackend)
          (k8s.given "tls-cert-file" cfg.tlsCertFile)
          (k8s.given "tls-private-key-file" cfg.tlsKeyFile)
          (k8s.given "v" cfg.verbosity)
          (k8s.raw cfg.extraOpts)
        ];
      };
    };
  };
}
