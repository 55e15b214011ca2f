# shellcheck shell=bash
# A cluster in which kube-vip announces the API's address and those of Services of type LoadBalancer, and a client that asks
# every 100 ms. Sourced after tests/lib/pods.sh.
#
#   services_cluster FILE    three machines from the machines.nix FILE, deployed, with an administrator and two pods `web`
#   balanced NAME [FIELD]    creates a Service of type LoadBalancer for `web`, with another field of its spec
#   address_of NAME          the address of a Service, once it has one
#   begin_asking URL         asks for URL every 100 ms, each time over a new connection
#   end_asking               ends it; sets `lost`, `span` from the first to the last request that was lost, and `gap`, the longest time
#                            between two answers, both in ms
#   power_off NODE           pulls the cable of a machine, whose kernel would go on to answer, and ends all its processes
#   power_on NODE            the opposite

nodes=(balthazar casper melchior)
create() { # objects from standard input
  outside "$kubernetes_programs/kubectl" --kubeconfig "$here/admin" --server "https://$net.2:6443" apply -f - >"$log" 2>&1
}
rolled_out() { # KIND/NAME [NAMESPACE]
  kubectl --namespace "${2:-default}" rollout status "$1" --timeout 1s
}
services_cluster() {
  local begin
  trial_init "$1"
  mkdir -p "$cluster/nodes"
  for node in "${nodes[@]}"; do pods_module >"$cluster/nodes/$node.nix"; done
  pods_images
  git -C "$cluster" add --all
  must "certificates" 0 '' m certs gen
  must "sandbox up" 0 '' m sandbox up
  read_machines
  for node in "${nodes[@]}"; do must "$node gets the programs" 0 '' give_pods "$node"; done
  outside ip address add "$net.1/24" dev eth0
  begin=$EPOCHREALTIME
  must "deploy brings up the cluster" 0 'objects: created +Deployment kube-system/kube-vip-cloud-provider' m deploy --all
  echo "      $(since "$begin") s for the deploy"
  must "kubeconfig" 0 '' m kubeconfig --output "$here/admin"
  check "all nodes are ready" wait_until 60 kubectl wait --for=condition=Ready node --all --timeout 1s
  check "the controller of addresses runs" wait_until 90 rolled_out deployment/kube-vip-cloud-provider kube-system
  create <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
        - name: web
          image: $tool_image
          args: [serve, "8080"]
          env: [{name: RELEASE, value: one}, {name: DRAIN_SECONDS, value: "6"}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
END
  check "two pods become ready" wait_until 60 rolled_out deployment/web
}
# Their nodes, so that another one can fail without them.
web_nodes() {
  kubectl get pods -l app=web -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null) | .spec.nodeName] | unique[]'
}
without_web() {
  comm -23 <(printf '%s\n' "${nodes[@]}") <(web_nodes) | head -n 1
}
balanced() {
  create <<END
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]${2:+, $2}}
END
}
address_of() {
  kubectl get service "$1" -o jsonpath='{.status.loadBalancer.ingress[0].ip}'
}
answer_of() { # URL
  outside curl --silent --fail --max-time 2 --cacert "$cluster/certs/authorities/kubernetes.pem" "$1"
}
ask_once() { # URL: one line, when it was asked and whether it was answered
  local moment=$EPOCHREALTIME
  if outside curl --silent --fail --max-time 1 --cacert "$cluster/certs/authorities/kubernetes.pem" --output /dev/null "$1"; then
    echo "$moment ok"
  else
    echo "$moment lost"
  fi
}
begin_asking() {
  rm -f "$here/asked"
  while [ ! -e "$here/asked" ]; do
    ask_once "$1" &
    sleep 0.1
  done >"$here/asking" &
  asker=$!
  background+=("$asker")
  sleep 1
}
# shellcheck disable=SC2034
end_asking() {
  touch "$here/asked"
  wait "$asker"
  sleep 1.2
  # The loop's own count would say nothing: without a single answer the gap is empty, and `within` fails.
  gap=$(sort "$here/asking" | awk '$2 == "ok" { if (last && $1 - last > gap) gap = $1 - last; last = $1 } END { if (gap) printf "%.0f\n", gap * 1000 }')
  span=$(sort "$here/asking" | awk '$2 == "lost" { if (!first) first = $1; last = $1 } END { printf "%.0f\n", (last - first) * 1000 }')
  lost=$(grep -c lost "$here/asking")
  echo "      $(wc -l <"$here/asking") requests, $lost without an answer within $span ms, at most ${gap:-?} ms between two answers"
}
within_ms() { # NAME MILLISECONDS GOT
  within "$1" "$(awk -v ms="$2" 'BEGIN { printf "%.1f", ms / 1000 }')" "$(awk -v ms="$3" 'BEGIN { if (ms != "") printf "%.2f", ms / 1000 }')"
}
power_off() {
  m sandbox fault "$1" link >"$log" 2>&1
  echo 1 >"$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)/mch-$trial.$1/cgroup.kill"
}
power_on() {
  check "$1 gets its cable back" m sandbox heal "$1"
  must "and its power" 0 '1 started' m sandbox up
}
