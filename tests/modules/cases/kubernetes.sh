# services.kubernetes on control planes and workers. Where a test is about a trap of NixOS' own modules or of the project that
# this one follows, its sentence says what would go wrong.

equal "the API server gets these flags and no others" \
  '.kubernetes.nodes.cp1.flags["kube-apiserver"] | map(gsub("/nix/store/[a-z0-9]{32}-"; "/store/"))' '[
    "--allow-privileged=true",
    "--authorization-mode=Node,RBAC",
    "--bind-address=0.0.0.0",
    "--advertise-address=10.13.13.2",
    "--client-ca-file=/store/kubernetes-ca.pem",
    "--disable-admission-plugins=",
    "--enable-admission-plugins=NamespaceLifecycle,LimitRanger,ServiceAccount,ResourceQuota,DefaultStorageClass,DefaultTolerationSeconds,NodeRestriction",
    "--etcd-servers=https://127.0.0.1:2379,https://10.13.13.3:2379,https://10.13.13.4:2379",
    "--etcd-cafile=/store/etcd-ca.pem",
    "--etcd-certfile=/store/kube-apiserver-etcd-client.pem",
    "--etcd-keyfile=/run/credentials/kube-apiserver.service/kube-apiserver-etcd-client.key",
    "--kubelet-certificate-authority=/store/kubernetes-ca.pem",
    "--kubelet-client-certificate=/store/kube-apiserver-kubelet-client.pem",
    "--kubelet-client-key=/run/credentials/kube-apiserver.service/kube-apiserver-kubelet-client.key",
    "--kubelet-preferred-address-types=InternalIP,Hostname,InternalDNS,ExternalIP,ExternalDNS",
    "--proxy-client-cert-file=/store/front-proxy-client.pem",
    "--proxy-client-key-file=/run/credentials/kube-apiserver.service/front-proxy-client.key",
    "--secure-port=6443",
    "--api-audiences=api,https://kubernetes.default.svc",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-signing-key-file=/run/credentials/kube-apiserver.service/service-account.key",
    "--service-account-key-file=/store/service-account.pub",
    "--service-cluster-ip-range=10.96.0.0/16",
    "--storage-backend=etcd3",
    "--tls-cert-file=/store/kube-apiserver.pem",
    "--tls-private-key-file=/run/credentials/kube-apiserver.service/kube-apiserver.key",
    "--requestheader-client-ca-file=/store/front-proxy-ca.pem",
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-username-headers=X-Remote-User",
    "--encryption-provider-config=/run/credentials/kube-apiserver.service/secrets-encryption.key"
  ]'
check "Secrets are encrypted with a key that only root reads, which is a credential of the API server alone" '
  .kubernetes.nodes.cp1.credentials
  | (.["kube-apiserver"] | contains(["secrets-encryption.key:/var/lib/machinist/keys/secrets-encryption-1b0c3f0a6d5e4c21.key"]))
    and ([to_entries[] | select(.key != "kube-apiserver") | .value | tostring | contains("secrets-encryption")] | any | not)' \
  .kubernetes.nodes.cp1.credentials
check "a cluster from before that key existed runs without it" '
  .kubernetes.variants.plainText | (.flags["kube-apiserver"] | any(startswith("--encryption-provider-config")) | not)
    and (.credentials["kube-apiserver"] | length == 5) and .failed == []' .kubernetes.variants.plainText.credentials
equal "the controller manager gets these flags and no others" \
  '.kubernetes.nodes.cp1.flags["kube-controller-manager"] | map(gsub("/nix/store/[a-z0-9]{32}-"; "/store/"))' '[
    "--allocate-node-cidrs=true",
    "--bind-address=127.0.0.1",
    "--cluster-cidr=10.42.0.0/16",
    "--kubeconfig=/store/kube-controller-manager-kubeconfig",
    "--leader-elect=true",
    "--root-ca-file=/store/kubernetes-ca.pem",
    "--secure-port=10257",
    "--service-account-private-key-file=/run/credentials/kube-controller-manager.service/service-account.key",
    "--tls-cert-file=/store/kube-controller-manager.pem",
    "--tls-private-key-file=/run/credentials/kube-controller-manager.service/kube-controller-manager.key",
    "--use-service-account-credentials",
    "--service-cluster-ip-range=10.96.0.0/16"
  ]'
equal "the scheduler gets these flags and no others" \
  '.kubernetes.nodes.cp1.flags["kube-scheduler"] | map(gsub("/nix/store/[a-z0-9]{32}-"; "/store/"))' '[
    "--bind-address=127.0.0.1",
    "--kubeconfig=/store/kube-scheduler-kubeconfig",
    "--leader-elect=true",
    "--secure-port=10259"
  ]'
equal "a worker runs the kubelet, kube-proxy and flannel" .kubernetes.nodes.w1.units '["flannel", "kube-proxy", "kubelet"]'
check "every node is without failed assertions and warnings" '[.kubernetes.nodes[] | .failed + .warnings] | flatten == []' '[.kubernetes.nodes[] | .failed + .warnings]'

# Traps of NixOS' modules.
only "trap 1: roles, which would set up an etcd and certificates of NixOS' own, are refused" .kubernetes.refused.roles services.kubernetes.roles "cp1" "remove it"
only "trap 1: easyCerts, which knows one control plane only, is refused" .kubernetes.refused.easyCerts services.kubernetes.easyCerts "cp1"
only "trap 2: the addon manager, which has no kubeconfig without easyCerts, is refused" .kubernetes.refused.addonManager services.kubernetes.addonManager.enable
only "trap 13: NixOS' CoreDNS, whose objects would never be applied, is refused" .kubernetes.refused.dns services.kubernetes.addons.dns.enable
only "trap 2: NixOS' flannel, open to everyone and without hostPort, is refused" .kubernetes.refused.ownFlannel services.kubernetes.flannel.enable
check "trap 3: the API server trusts etcd's authority for etcd, not Kubernetes' as by default" '
  .kubernetes.nodes.cp1.flags["kube-apiserver"] | map(select(test("^--etcd-cafile=.*-etcd-ca.pem$"))) | length == 1'
check "trap 4: a stacked member is the cluster's, not the single one that the API server's module presets" '
  .kubernetes.nodes.cp1.etcd
  | .name == "cp1" and (.initialCluster | contains(["cp1=https://10.13.13.2:2380"])) and .listenClientUrls[0] == "https://10.13.13.2:2379"' .kubernetes.nodes.cp1.etcd
only "trap 5: an API server that advertises the virtual address would be one endpoint for all: refused" .kubernetes.refused.advertised advertiseAddress 10.13.13.2
check "trap 5: nodes find the API at the virtual address with its port, which the default leaves out" '
  .kubernetes.nodes.w1.apiserverAddress == "https://10.13.100.1:6443"'
check "trap 6: the service range is set on workers too, and the pods' name server is in it" '
  .kubernetes.nodes.w1 | .serviceRange == "10.96.0.0/16" and .kubelet.clusterDns == ["10.96.0.10"]' .kubernetes.nodes.w1.kubelet
only "trap 6: another service range than the certificates' is refused" .kubernetes.refused.range serviceClusterIpRange network.services
check "trap 7: NixOS' ranges, which collide with common networks, are nowhere" '
  [.kubernetes.nodes[].flags[][] | select(test("10[.][01][.]0[.]0/"))] == []'
check "trap 8: kubelet, kube-proxy and flannel go by the node's name whatever the domain, as its certificate does" '
  [.kubernetes.nodes.cp1.names, .kubernetes.variants.domain.names] | flatten | unique == ["cp1"]' .kubernetes.variants.domain.names
only "trap 8: another name for one of them is refused" .kubernetes.refused.hostname hostname "cp1"
check "trap 10: containerd restarts when the CNI configuration changes: it does not notice the link" '
  .kubernetes.nodes.w1 | .containerdTriggers == [.cniDir] and (.cniDir | startswith("/nix/store/"))' .kubernetes.nodes.w1.containerdTriggers
check "trap 9: the kubelet's directory is the one that docs/guides/kubernetes.md tells storage drivers" '
  [.kubernetes.nodes[].flags.kubelet | contains(["--root-dir=/var/lib/kubernetes"])] | all' .kubernetes.nodes.w1.flags.kubelet
check "trap 11: no password is in a static pod, whose text everyone can read" '
  [.kubernetes.nodes[], (.kubernetes.variants | .arp, .password) | .kubelet.manifests[].spec.containers[].env[]
    | select((.name | test("pass|secret|token"; "i")) or (.name == "bgp_peers" and (.value | split(":")[2] != "")))] == []' .kubernetes.nodes.cp1.kubelet.manifests
check "trap 16: no API group that is gone is switched on, as by default" '
  [.kubernetes.nodes[].flags[][] | select(test("runtime-config"))] == []'
check "trap 15: the aggregation layer has its flags, for which NixOS has no options" '
  [.kubernetes.nodes.cp1.flags["kube-apiserver"][] | select(test("^--(requestheader-|proxy-client-)"))] | length == 7' \
  '.kubernetes.nodes.cp1.flags["kube-apiserver"]'
check "hostPort works: the CNI configuration has portmap" '[.kubernetes.nodes.w1.cni.plugins[].type] == ["flannel", "portmap"]'
check "trap 12: no flag is one that Kubernetes no longer has" '
  [.kubernetes.nodes[].flags[][] | select(test("^--(pod-infra-container-image|insecure-|container-runtime=|network-plugin|runtime-config|enable-swagger|cloud-provider)"))] == []'
check "trap 14: a control plane that is no worker is tainted as such, and not unschedulable for CoreDNS too" '
  .kubernetes.nodes.cp1.kubelet
  | .taints == {"node-role.kubernetes.io/control-plane:NoSchedule": {key: "node-role.kubernetes.io/control-plane", value: "", effect: "NoSchedule"}}
    and .unschedulable == false' .kubernetes.nodes.cp1.kubelet.taints
check "every kubelet registers with the taints of machines.nix, and as schedulable: NixOS presets otherwise without roles" '
  [.kubernetes.nodes[].flags.kubelet[] | select(startswith("--register-with-taints"))]
  == ["--register-with-taints=node-role.kubernetes.io/control-plane=:NoSchedule",
      "--register-with-taints=dedicated=edge:NoExecute,gpu=:NoSchedule"]' '[.kubernetes.nodes[].flags.kubelet[] | select(test("taint"))]'
only "NixOS' own switch for it is refused" .kubernetes.refused.unschedulable services.kubernetes.kubelet.unschedulable taints
equal "taints of machines.nix reach the kubelet, with and without a value" '.kubernetes.nodes.w1.kubelet.taints | map("\(.key)=\(.value):\(.effect)")' \
  '["dedicated=edge:NoExecute", "gpu=:NoSchedule"]'
check "trap 14: no node labels itself node-role, which NodeRestriction forbids" '[.kubernetes.nodes[].flags[][] | select(test("node-labels"))] == []'
check "trap 15: no authority's key is on a control plane for signing requests" '
  [.kubernetes.nodes[] | .flags[][], .credentials[][], .rootKeys[] | select(test("cluster-signing|-ca[.-].*key|^ca"))] == []'
check "trap 18: flannel keeps its leases in Kubernetes: no etcd certificate is on workers, nothing waits for etcd" '
  .kubernetes.nodes.w1 | .flannelPreStart == "" and ([.flannel | keys[] | select(test("ETCD"))] == [])
    and ([.pki[] | select(test("etcd"))] == []) and .etcdEnabled == false' .kubernetes.nodes.w1.flannel
only "trap 20: swap, with which no kubelet starts, is refused" .kubernetes.refused.swap swapDevices failSwapOn
equal "unless the kubelet is configured for it" .kubernetes.refused.swapAllowed '[]'
only "a control plane without etcd members is refused" .kubernetes.refused.noEtcd etcdMembers

# Who talks to whom.
check "nothing on a control plane depends on the virtual address" '
  [.kubernetes.nodes.cp1.kubeconfigs[].clusters[0].cluster.server] | length == 5 and (unique == ["https://127.0.0.1:6443"])' \
  '[.kubernetes.nodes.cp1.kubeconfigs[].clusters[0].cluster.server]'
check "a worker uses the virtual address" '
  [.kubernetes.nodes.w1.kubeconfigs[].clusters[0].cluster.server] | length == 3 and (unique == ["https://10.13.100.1:6443"])'
check "every kubeconfig trusts Kubernetes' authority and has a certificate of its own" '
  [.kubernetes.nodes.cp1.kubeconfigs | to_entries[] | .value
    | .clusters[0].cluster["certificate-authority"] as $ca | .users[0].user
    | ($ca | test("-kubernetes-ca.pem$")) and .["client-certificate"] != null and .["client-key"] != null] | all'
equal "the clients are the ones that they are named after" \
  '[.kubernetes.nodes.cp1.kubeconfigs | to_entries[] | .key + ": " + (.value.users[0].user["client-certificate"] | sub("/nix/store/[a-z0-9]{32}-"; ""))]' '[
    "controller-manager: kube-controller-manager-client.pem",
    "flannel: flannel-client.pem",
    "kubelet: kubelet-client.pem",
    "proxy: kube-proxy-client.pem",
    "scheduler: kube-scheduler-client.pem"
  ]'
check "a control plane without its own etcd uses all members" '
  .kubernetes.variants.external
  | .etcdEnabled == false and (.flags["kube-apiserver"] | contains(["--etcd-servers=https://10.13.13.20:2379,https://10.13.13.21:2379"]))' \
  '.kubernetes.variants.external.flags["kube-apiserver"]'
check "without an endpoint the first control plane is it" '.kubernetes.variants.alone.apiserverAddress == "https://10.13.13.2:6443"'

equal "a control plane without the components of a node runs the others, and reads no key in place but etcd's" \
  .kubernetes.variants.withoutPods '{
    failed: [],
    units: ["kube-apiserver", "kube-controller-manager", "kube-scheduler"],
    root: ["etcd-healthcheck-client"]
  }'

# Keys.
check "the keys of services of the user kubernetes are credentials, each of its own unit" '
  .kubernetes.nodes.cp1.credentials
  | (.["kube-apiserver"] | length == 6) and (.["kube-controller-manager"] | length == 3) and (.["kube-scheduler"] | length == 1)
    and (.["kube-apiserver"] | map(test("^[a-z-]+[.]key:/var/lib/machinist/keys/[a-z-]+-[0-9a-f]{16}[.]key$")) | all)' .kubernetes.nodes.cp1.credentials
check "the kubelet has none, and so no mount namespace that would hide its mounts from containers" '
  [.kubernetes.nodes[].credentials | .kubelet, .["kube-proxy"], .flannel] | flatten == []'
check "everything waits for the check of its keys" '
  [.kubernetes.nodes[].after[] | contains(["machinist-keys.service"])] | all' '.kubernetes.nodes.cp1.after'
equal "a worker has the certificates of a worker" .kubernetes.nodes.w1.pki '[
    "machinist/pki/flannel-client.pem",
    "machinist/pki/kube-proxy-client.pem",
    "machinist/pki/kubelet-client.pem",
    "machinist/pki/kubelet.pem",
    "machinist/pki/kubernetes-ca.pem"
  ]'
check "trap 22: the kubelet serves with its own certificate: otherwise there would be no logs and no exec" '
  .kubernetes.nodes.w1.kubelet | (.tlsCertFile | test("-kubelet.pem$")) and (.tlsKeyFile | test("^/var/lib/machinist/keys/kubelet-[0-9a-f]{16}.key$"))'

# Network.
check "the kubelet is open to control planes only, and the tunnel to nodes only" '
  .kubernetes.nodes.w1.firewall
  | (map(select(contains("10250"))) == ["ip saddr { 10.13.13.2, 10.13.13.3, 10.13.13.4 } tcp dport 10250 accept comment \"kubelet\""])
    and (map(select(contains("51820"))) == ["ip saddr { 10.13.13.0/24 } udp dport 51820 accept comment \"flannel-wireguard\""])' .kubernetes.nodes.w1.firewall
check "with vxlan its port is open to nodes and WireGuard is not" '
  .kubernetes.variants.vxlan | (.firewall | any(contains("udp dport 8472"))) and (.firewall | any(contains("51820")) | not)
    and (.trusted | contains(["flannel.1"])) and (.kernelModules | contains(["vxlan"]))' .kubernetes.variants.vxlan.firewall
check "the API is open where there is one, and web ports where traffic comes in" '
  (.kubernetes.nodes.cp1.openTcp | contains([6443])) and (.kubernetes.nodes.w1.openTcp | contains([80, 443]) and (index(6443) | not))'
check "pods reach their node" '.kubernetes.nodes.w1.trusted | contains(["cni0", "flannel-wg"])' .kubernetes.nodes.w1.trusted
check "flannel gets the node's address: the default is the interface of the default route" '
  .kubernetes.nodes.w1.flannel | .FLANNELD_IFACE == "10.13.13.5" and .FLANNELD_PUBLIC_IP == "10.13.13.5"'
check "a pod sees its peer's address: flannel masquerades, which knows the pods' range, and not the CNI plugin" '
  .kubernetes.nodes.w1.flannel.FLANNELD_IP_MASQ == "true"' .kubernetes.nodes.w1.flannel
equal "flannel gets the pods' range and the overlay" .kubernetes.nodes.w1.flannelNet \
  '{Network: "10.42.0.0/16", SubnetLen: 24, Backend: {Type: "wireguard", PersistentKeepaliveInterval: 25}}'
check "dual stack reaches flannel" '.kubernetes.variants.dual.flannelNet | .Network == "10.42.0.0/16" and .IPv6Network == "fd00:42::/48" and .EnableIPv6' .kubernetes.variants.dual.flannelNet
check "no node answers ARP for an announced address on lo" '
  .kubernetes.nodes.cp1.sysctl | .["net.ipv4.conf.all.arp_ignore"] == 1 and .["net.ipv4.conf.all.arp_announce"] == 2' .kubernetes.nodes.cp1.sysctl

# Two definitions of a kernel parameter at one priority conflict, even equal ones, and NixOS sets some itself.
equal "the limits of inotify are those of NixOS" '.kubernetes.nodes.w1.sysctl
  | [.["fs.inotify.max_user_instances"], .["fs.inotify.max_user_watches"]]' '[524288, 524288]'
check "a kernel parameter of ours is above a default of NixOS, and conflicts with none" '
  .kubernetes.parameters.nixos | .["kernel.panic"] == 10 and .["vm.overcommit_memory"] == 1 and .["net.ipv6.conf.all.forwarding"] == 1' \
  .kubernetes.parameters.nixos
check "a user's kernel parameter overrides ours, and conflicts with none" '.kubernetes.parameters.person | .["kernel.panic"] == 5' \
  .kubernetes.parameters.person

# The virtual address.
vip='.kubernetes.nodes.cp1.kubelet.manifests["kube-vip"]'
env() { # NODES-PATH: the environment of kube-vip there, without the node's name
  printf '%s' "$1.kubelet.manifests[\"kube-vip\"].spec.containers[0].env | map(select(.value)) | from_entries"
}
equal "kube-vip announces by BGP from every control plane, from the node's own identifier, while its API server is well" "$(env .kubernetes.nodes.cp1)" '{
    address: "10.13.100.1", port: "6443", vip_subnet: "32", vip_interface: "lo", vip_arp: "false",
    cp_enable: "true", cp_namespace: "kube-system", svc_enable: "false",
    bgp_enable: "true", bgp_routerid: "10.13.13.2", bgp_as: "64512", bgp_peers: "10.13.13.1:64513::false",
    bgp_keepalive_interval: "1", bgp_hold_time: "4",
    control_plane_health_check_address: "https://localhost:6443/livez",
    control_plane_health_check_ca_path: "/etc/kube-vip/ca.pem",
    control_plane_health_check_period_seconds: "1",
    control_plane_health_check_timeout_seconds: "1",
    control_plane_health_check_failure_threshold: "3",
    k8s_config_file: "/etc/kube-vip/kubeconfig", prometheus_server: "127.0.0.1:2112"
  }'
equal "by ARP one of them is elected and answers on the node's interface" "$(env .kubernetes.variants.arp)" '{
    address: "10.13.100.1", port: "6443", vip_subnet: "32", vip_interface: "eth0", vip_arp: "true",
    cp_enable: "true", cp_namespace: "kube-system", svc_enable: "false",
    vip_leaderelection: "true", vip_leasename: "plndr-cp-lock", vip_leaseduration: "5", vip_renewdeadline: "3", vip_retryperiod: "1",
    k8s_config_file: "/etc/kube-vip/kubeconfig", prometheus_server: "127.0.0.1:2112"
  }'
equal "with a pool it announces addresses of Services too, without an election where the Router balances" \
  "$(env .kubernetes.variants.services) | {svc_enable, svc_election, vip_subnet}" '{svc_enable: "true", svc_election: null, vip_subnet: "32,128"}'
equal "and by ARP from one node for each Service" \
  "$(env .kubernetes.variants.arpServices) | {svc_enable, svc_election}" '{svc_enable: "true", svc_election: "true"}'
check "with a password kube-vip finds it and the Router in a mounted file, and in nothing else" '
  .kubernetes.variants.password as $node | $node.kubelet.manifests["kube-vip"].spec as $spec | $spec.containers[0] as $pod
  | $pod.args == ["manager", "--config-file=/etc/kube-vip/bgp.json"]
    and ([$pod.env[].name | select(test("^(bgp_peer|config_file)"))] == [])
    and ($pod.volumeMounts | any(.mountPath == "/etc/kube-vip/bgp.json" and .name == "bgp-json" and .readOnly))
    and ($spec.volumes | any(.name == "bgp-json" and .hostPath == {path: $node.password.file, type: "File"}))' \
  '.kubernetes.variants.password.kubelet.manifests["kube-vip"].spec'
check "the file is written from the delivered password before the kubelet needs it, and only root reads it" '
  .kubernetes.variants.password.password
  | (.file | test("^/run/machinist-bgp-password/[0-9a-f]{16}.json$")) and (.before | contains(["kubelet.service"]))
    and .LoadCredential == ["bgp-password.key:/var/lib/machinist/keys/bgp-password-0123456789abcdef.key"]
    and .RuntimeDirectoryMode == "0700" and .UMask == "0377"' .kubernetes.variants.password.password
check "another password is another file, so that the pod is recreated" '
  .kubernetes.variants | .password.password.file != .otherPassword.password.file'
check "a node without a password has nothing of it" '.kubernetes.nodes.cp1.password == {} and .kubernetes.variants.arp.password == {}'
check "a file that is missing is an error, not an empty directory, and the key stays outside of the store" "
  $vip.spec.volumes | length == 4 and all(.hostPath.type == \"File\")
    and ([.[].hostPath.path | select(test(\"^/var/lib/machinist/keys/kube-vip-client-[0-9a-f]{16}.key\$\"))] | length == 1)" "$vip.spec.volumes"
check "behind a load balancer that others manage there is no kube-vip" '
  (.kubernetes.nodes.cp1.kubelet.manifests | has("kube-vip")) and (.kubernetes.variants.loadBalancer.kubelet.manifests | has("kube-vip") | not)' \
  .kubernetes.variants.loadBalancer.kubelet.manifests
check "kube-vip may change the network and nothing else" "
  $vip.spec.containers[0].securityContext == {capabilities: {add: [\"NET_ADMIN\", \"NET_RAW\"], drop: [\"ALL\"]}}" "$vip.spec.containers[0].securityContext"
check "no variable that kube-vip no longer has is set" "[$vip.spec.containers[0].env[].name | select(. == \"vip_cidr\" or . == \"vip_address\" or . == \"lb_port\")] == []"
check "workers have no kube-vip" '.kubernetes.nodes.w1.kubelet.manifests == {}'
check "without a virtual address there is none" '.kubernetes.variants.alone.kubelet.manifests == {}'
only "kube-vip without a kubelet is refused" .kubernetes.refused.vipWithoutKubelet kubeVip.enable nodeComponents

# Versions.
check "every node says which Kubernetes it has, for the skew policy" '
  [.kubernetes.nodes[].version | test("^1[.][0-9]+[.][0-9]+\n$")] | length == 2 and all' .kubernetes.nodes.cp1.version
equal "the release knows which it can start" .kubernetes.nodes.cp1.knownVersions '["1.34", "1.35", "1.36"]'
only "trap 12: a version that the release cannot start is refused" .kubernetes.refused.version services.kubernetes.package "1.99" 26.05
equal "unless no versions are listed" .kubernetes.refused.anyVersion '[]'
