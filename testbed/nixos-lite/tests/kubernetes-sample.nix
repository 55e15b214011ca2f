# A machine with every component of Kubernetes, and as many of their options as have a flag.
let
  file = name: "/pki/${name}";
  kubeconfig = {
    server = "https://127.0.0.1:6443";
    certFile = file "client.pem";
    keyFile = file "client.key";
  };
in
(import ./sample.nix {
  modules = [
    {
      services.kubernetes = {
        caFile = file "ca.pem";
        clusterCidr = "10.42.0.0/16";
        masterAddress = "10.0.0.2";
        addons.dns.enable = false;
        apiserver = {
          enable = true;
          advertiseAddress = "10.0.0.2";
          allowPrivileged = true;
          etcd.caFile = file "etcd-ca.pem";
          etcd.certFile = file "etcd.pem";
          etcd.keyFile = file "etcd.key";
          kubeletClientCertFile = file "kubelet-client.pem";
          kubeletClientKeyFile = file "kubelet-client.key";
          proxyClientCertFile = file "proxy.pem";
          proxyClientKeyFile = file "proxy.key";
          serviceAccountKeyFile = file "sa.pub";
          serviceAccountSigningKeyFile = file "sa.key";
          tlsCertFile = file "apiserver.pem";
          tlsKeyFile = file "apiserver.key";
          extraOpts = "--one=1 --two=2";
        };
        controllerManager = {
          enable = true;
          inherit kubeconfig;
          serviceAccountKeyFile = file "sa.key";
        };
        scheduler = {
          enable = true;
          inherit kubeconfig;
        };
        proxy = {
          enable = true;
          inherit kubeconfig;
        };
        kubelet = {
          enable = true;
          inherit kubeconfig;
          nodeIp = "10.0.0.2";
          taints.dedicated = {
            value = "gpu";
            effect = "NoExecute";
          };
          manifests.pause.kind = "Pod";
        };
      };
      services.flannel = {
        enable = true;
        storageBackend = "kubernetes";
        network = "10.42.0.0/16";
        iface = "10.0.0.2";
        kubeconfig = file "flannel.kubeconfig";
      };
    }
  ];
}).config
