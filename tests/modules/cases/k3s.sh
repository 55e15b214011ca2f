# services.k3s on servers and agents. Where a test is about a trap of k3s, its sentence says what would go wrong.

equal "a server gets these flags and no others" '.k3s.nodes.s1.flags | map(gsub("/nix/store/[a-z0-9]{32}-"; "/store/"))' '[
    "server",
    "--token-file",
    "/run/credentials/k3s.service/k3s-server-token.key",
    "--agent-token-file",
    "/run/credentials/k3s.service/k3s-agent-token.key",
    "--cluster-cidr=10.42.0.0/16",
    "--service-cidr=10.96.0.0/16",
    "--cluster-dns=10.96.0.10",
    "--cluster-domain=cluster.local",
    "--flannel-backend=wireguard-native",
    "--https-listen-port=6443",
    "--secrets-encryption",
    "--write-kubeconfig-mode=600",
    "--etcd-snapshot-schedule-cron=0 */6 * * *",
    "--etcd-snapshot-retention=20",
    "--tls-san=s1",
    "--tls-san=s2",
    "--tls-san=s3",
    "--tls-san=10.13.13.2",
    "--tls-san=10.13.13.3",
    "--tls-san=10.13.13.4",
    "--tls-san=10.13.13.10",
    "--tls-san=kubernetes",
    "--node-name=s1",
    "--node-ip=10.13.13.2",
    "--flannel-iface=enp2s0",
    "--node-taint=node-role.kubernetes.io/control-plane=:NoSchedule"
  ]'
equal "an agent gets these flags and no others" '.k3s.nodes.a1.flags' '[
    "agent",
    "--server",
    "https://10.13.13.10:6443",
    "--token-file",
    "/run/credentials/k3s.service/k3s-agent-token.key",
    "--node-name=a1",
    "--node-ip=10.13.13.5",
    "--node-taint=dedicated=edge:NoExecute"
  ]'
check "where machines.nix names no interface, that of the node's address is found when k3s starts" '
  (.k3s.nodes.a1.preStart | contains("ADDRESS=10.13.13.5")) and (.k3s.nodes.s1.preStart | contains("ADDRESS=") | not)' .k3s.nodes.a1.preStart
# finds ADDRESS: what the script writes on a machine with two interfaces, the second one that of the private network.
finds() {
  ADDRESS=$1 FILE=$work/k3s.d/90.yaml unshare --net bash -euo pipefail -c '
    sleep() { :; }
    ip link add public0 type bridge && ip address add 198.51.100.7/32 dev public0
    ip link add private0 type bridge && ip address add 10.13.13.5/24 dev private0
    . "$0"' "$project/modules/k3s/flannel-interface.sh" && cat "$work/k3s.d/90.yaml"
}
check_exit "it is not the first one" 0 '^flannel-iface: "private0"$' finds 10.13.13.5
check_exit "without the address k3s does not start, and says why" 1 "no interface has the node's address 10.13.13.9" finds 10.13.13.9
check "without a virtual address an agent begins with a server" \
  '.k3s.variants.withoutVip.flags | index("https://10.13.13.2:6443")' '.k3s.variants.withoutVip.flags'
check "what must match on all servers does: only the node's own flags differ" '
  [.k3s.nodes | .s1, .s2, .s3 | .flags | map(select(test("^--(node-|flannel-iface)") | not))] | unique | length == 1' \
  '[.k3s.nodes | .s1, .s2, .s3 | .flags]'
check "the servers' manifests are the same file" '
  [.k3s.nodes | .s1, .s2, .s3 | .sources] | (unique | length == 1) and (.[0] | keys == ["kube-vip"])' '.k3s.nodes.s1.sources'
check "so are they with cert-manager" '.k3s.variants | .issuers.sources == .issuers3.sources'

check "the tokens are credentials, and no token is among the flags" '
  .k3s.nodes.s1 | (.credentials | map(split(":")[0]) == ["k3s-agent-token.key", "k3s-server-token.key"])
  and (.credentials | all(contains("/var/lib/machinist/")))
  and (.flags | any(test("^--(agent-)?token(=|$)")) | not)' '.k3s.nodes.s1.credentials'
equal "an agent has the token that makes agents, and not the one that makes servers" \
  '.k3s.nodes.a1.credentials | map(split(":")[0])' '["k3s-agent-token.key"]'
only "a token in the store is refused" .k3s.refused.token "services.k3s.token" "everyone can read" "certs gen"

equal "before anything is recorded one server founds the cluster, and the others join that one" \
  '.k3s.nodes | [.s1, .s2, .s3 | .environment]' \
  '["K3S_URL=https://10.13.13.3:6443\n", "K3S_CLUSTER_INIT=true\n", "K3S_URL=https://10.13.13.3:6443\n"]'
equal "once it is recorded no server founds another one: each joins the next" '.k3s.founded | [.s1, .s2, .s3 | .environment]' \
  '["K3S_URL=https://10.13.13.3:6443\n", "K3S_URL=https://10.13.13.4:6443\n", "K3S_URL=https://10.13.13.2:6443\n"]'
check "recording it restarts no server: it is a file in /etc, and the unit stays the same" \
  '.k3s as $k | ["s1", "s2", "s3"] | all(. as $n | $k.nodes[$n].flags == $k.founded[$n].flags
    and $k.nodes[$n].environmentFile == "/etc/machinist/k3s.env" and $k.founded[$n].restarts == [])'
check "a single server founds the cluster once; later it neither founds nor joins, and a guard checks its data" '
  .k3s.alone | (.new.environment == "K3S_CLUSTER_INIT=true\n") and (.recorded.environment | test("K3S_") | not) and .recorded.guarded' \
  '.k3s.alone | map_values(.environment)'
only "clusterInit on a server is refused: installed anew, it would found a second cluster" .k3s.refused.clusterInit \
  "services.k3s.clusterInit or serverAddr is set on s1" "second cluster"
only "so is serverAddr" .k3s.refused.serverAddr "services.k3s.clusterInit or serverAddr is set on s1" "the recorded founder"
only "swap is refused: the kubelet would not start" .k3s.refused.swap "swapDevices" "kubelet"

check "kube-vip and servicelb never give addresses both: with kube-vip, servicelb is off" '
  (.k3s.nodes.s1 | (.flags | index("--disable=servicelb") | not)
    and (.manifests["kube-vip"][3].spec.template.spec.containers[0].env | any(.name == "svc_enable" and .value == "false")))
  and (.k3s.variants.services | (.flags | index("--disable=servicelb"))
    and (.manifests["kube-vip"][3].spec.template.spec.containers[0].env | any(.name == "svc_enable" and .value == "true")))'
check "behind a load balancer that others manage there is no kube-vip" '.k3s.variants.loadBalancer.manifests | has("kube-vip") | not' \
  .k3s.variants.loadBalancer.manifests
only "kube-vip for services needs a virtual address" .k3s.refused.kubeVip "serviceLoadBalancer" "kubeMaster"
only "and one that it announces itself" .k3s.refused.kubeVipExternal "serviceLoadBalancer" "external"
check "kube-vip runs on servers only, whatever their taints" '.k3s.nodes.s1.manifests["kube-vip"][3].spec.template.spec |
  (.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key
    == "node-role.kubernetes.io/control-plane") and (.tolerations | map(.effect) == ["NoSchedule", "NoExecute"]) and .hostNetwork'
check "by BGP each server has its own identifier, and no server is a neighbor of another" '
  .k3s.variants.bgp.manifests["kube-vip"][3].spec.template.spec.containers[0].env
  | any(.name == "bgp_routerid" and .valueFrom.fieldRef.fieldPath == "status.hostIP")
    and any(.name == "bgp_peers" and .value == "10.13.13.1:64513::false")'
check "with a password the Router and the password are in a file that all servers have at the same place" '
  .k3s.variants as $all | $all.password.manifests["kube-vip"][3].spec.template.spec as $spec | $spec.containers[0] as $pod
  | $all.password.manifests == $all.password3.manifests and $pod.args == ["manager", "--config-file=/etc/kube-vip/bgp.json"]
    and ($pod.env | any(.name == "bgp_peers") | not)
    and $pod.volumeMounts == [{name: "bgp", mountPath: "/etc/kube-vip/bgp.json", readOnly: true}]
    and $spec.volumes == [{name: "bgp", hostPath: {path: $all.password.password, type: "File"}}]' \
  '.k3s.variants.password.manifests["kube-vip"][3].spec.template.spec'
equal "the limits of inotify are those of NixOS, whose definitions conflict with others of their priority" '.k3s.nodes.s1.sysctl
  | [.["fs.inotify.max_user_instances"], .["fs.inotify.max_user_watches"]]' '[524288, 524288]'
check "and does not answer ARP for the address" '.k3s.variants.bgp.sysctl["net.ipv4.conf.all.arp_ignore"] == 1'

check "the staging and the production issuer have separate accounts" '
  .k3s.variants.issuers.manifests["cluster-issuers"] | map(.metadata.name) == ["letsencrypt-staging", "letsencrypt-production"]
  and ([.[].spec.acme.privateKeySecretRef.name] | unique | length == 2)
  and (.[0].spec.acme.server | contains("staging")) and (.[1].spec.acme.server | contains("staging") | not)'
check "cert-manager installs its kinds" \
  '.k3s.variants.issuers.manifests["cert-manager"][0].spec.valuesContent | fromjson | .crds.enabled'

check "etcd is open to the servers, the kubelet and the tunnel to the nodes" '.k3s.nodes.s1.firewall
  | any(contains("tcp dport 2379") and contains("10.13.13.2, 10.13.13.3, 10.13.13.4") and (contains("10.13.13.5") | not))
    and any(contains("tcp dport 2380")) and any(contains("tcp dport 10250") and contains("10.13.13.0/24"))
    and any(contains("udp dport 51820") and contains("10.13.13.0/24"))' '.k3s.nodes.s1.firewall'
check "an agent opens neither the API nor etcd" '.k3s.nodes.a1 | (.openTcp | index(6443) | not) and (.openTcp | index(443))
  and (.firewall | any(contains("2379")) | not)' '.k3s.nodes.a1.firewall'
check "pods reach their node: the bridge and the tunnel are trusted" \
  '.k3s.nodes.s1.trusted == ["lo", "cni0", "flannel-wg", "flannel-wg-v6"] or (.k3s.nodes.s1.trusted | contains(["cni0", "flannel-wg"]))' \
  '.k3s.nodes.s1.trusted'
check "vxlan has its own port and interface" '.k3s.variants.vxlan | (.firewall | any(contains("udp dport 8472")))
  and (.trusted | index("flannel.1"))'
check "a new system of a server is kept when its API server is ready" '.k3s.nodes.s1.gates == ["k3s"] and .k3s.nodes.a1.gates == []'
check "k3s' embedded etcd can be queried like any other" '.k3s.nodes.s1.packages | any(contains("machinist-etcdctl"))'
check "nothing is wrong with any of them" '[.k3s.nodes[].failed, .k3s.founded[].failed, .k3s.nodes[].warnings] | flatten == []' \
  '[.k3s.nodes | map_values({failed, warnings})]'
