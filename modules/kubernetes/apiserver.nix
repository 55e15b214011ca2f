# The API server of a control plane: it connects to etcd with its own certificate, advertises the
# node's address, and trusts the front proxy's authority for users of extension API servers. Secrets
# are encrypted before they are stored in etcd.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.kubernetes;
  inherit (config.machinist) network;
  inherit (config.lib.machinist.types) isIPv6 urlHost;
  inherit (config.machinist.keys.units.kube-apiserver) files;
  inherit (config.lib.machinist) pki;

  url = address: "https://${urlHost address}:2379";
  isMember = config.machinist.etcd.enable;
  # A cluster older than this key has none until `machinist certs rotate-encryption` creates it.
  isEncrypted = config.machinist.pki.keyPairs ? secrets-encryption;
  others = lib.filter (address: address != network.address) cfg.etcdMembers;
in
{
  config = lib.mkIf (cfg.enable && cfg.controlPlane) {
    services.kubernetes.apiserver = {
      enable = true;
      # With the virtual address, all API servers would register as one endpoint.
      advertiseAddress = network.address;
      bindAddress = if isIPv6 network.address then "::" else "0.0.0.0";
      securePort = cfg.port;
      allowPrivileged = lib.mkDefault true;
      authorizationMode = [
        "Node"
        "RBAC"
      ];

      etcd = {
        # The node's own member first: etcd's client stays with the first one that answers.
        servers = if isMember then [ (url "127.0.0.1") ] ++ map url others else map url cfg.etcdMembers;
        caFile = files.authorities.etcd;
        certFile = files.kube-apiserver-etcd-client.certificate;
        keyFile = files.kube-apiserver-etcd-client.key;
      };

      tlsCertFile = files.kube-apiserver.certificate;
      tlsKeyFile = files.kube-apiserver.key;
      kubeletClientCertFile = files.kube-apiserver-kubelet-client.certificate;
      kubeletClientKeyFile = files.kube-apiserver-kubelet-client.key;
      # Few nodes' names are in /etc/hosts.
      preferredAddressTypes = "InternalIP,Hostname,InternalDNS,ExternalIP,ExternalDNS";
      proxyClientCertFile = files.front-proxy-client.certificate;
      proxyClientKeyFile = files.front-proxy-client.key;

      serviceAccountKeyFile = files.service-account.public;
      serviceAccountSigningKeyFile = files.service-account.key;
      # NixOS' default enables an API group that no longer exists.
      runtimeConfig = "";

      # NixOS has no options for these.
      extraOpts =
        lib.concatStringsSep " " [
          "--requestheader-client-ca-file=${files.authorities.front-proxy}"
          "--requestheader-allowed-names=front-proxy-client"
          "--requestheader-extra-headers-prefix=X-Remote-Extra-"
          "--requestheader-group-headers=X-Remote-Group"
          "--requestheader-username-headers=X-Remote-User"
        ]
        + lib.optionalString isEncrypted " --encryption-provider-config=${files.secrets-encryption.key}";
    };

    machinist.keys.units.kube-apiserver = {
      leaves = [
        "front-proxy-client"
        "kube-apiserver"
        "kube-apiserver-etcd-client"
        "kube-apiserver-kubelet-client"
      ];
      keyPairs = [ "service-account" ] ++ lib.optional isEncrypted "secrets-encryption";
      authorities = [
        "etcd"
        "front-proxy"
      ];
    };

    # /readyz needs no certificate: Kubernetes' default roles allow anonymous requests to it.
    machinist.gates.kube-apiserver = {
      command = [
        "${pkgs.curl}/bin/curl"
        "--silent"
        "--show-error"
        "--fail"
        "--noproxy"
        "*"
        "--max-time"
        "5"
        "--cacert"
        (pki.authority "kubernetes")
        "https://127.0.0.1:${toString cfg.port}/readyz"
      ];
      timeout = 120;
    };

    assertions = [
      {
        assertion = config.services.kubernetes.apiserver.advertiseAddress == network.address;
        message =
          "services.kubernetes.apiserver.advertiseAddress of ${config.machinist.node.name} is not the node's own "
          + "address ${network.address}: all API servers would register as one endpoint. Remove it.";
      }
      {
        assertion = cfg.etcdMembers != [ ];
        message =
          "machinist.kubernetes.etcdMembers of ${config.machinist.node.name} is empty: give machines the role "
          + "\"etcd\" in machines.nix and run `machinist generate`.";
      }
    ];
  };
}
