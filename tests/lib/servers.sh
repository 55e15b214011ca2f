# shellcheck shell=bash
# A test cloud (testbed/clouds) whose servers are sandbox machines, for a test script that has called trial_begin. All of it
# runs in the network of the operator, where the test cloud listens, too. nixos-anywhere is a STAND-IN: no machine can be
# kexec'd here.
#
#   servers_begin          starts the cloud
#   servers_down           for trial_finish
#   at_cloud COMMAND...    runs it with the token in $here/token
#   ask_cloud METHOD PATH [BODY]   the cloud's API for tests
#   count KIND             the number of things at the provider
#   machines_of NAMES EXTRA    a machines.nix of members of etcd that are servers
#   start_m ARGUMENTS...   machinist in the background, with its output in $log; sets `last` to its process
#   delete_server ID       somebody deletes a server in the provider's console
#   address_servers        gives the private addresses, as the provider's DHCP does at each boot
#   keep_addressing        the same, again and again, in the background

servers_begin() {
  farm=$here/farm
  export STAND_IN_RECORD=$here/calls FARM=$farm FARM_NAME=$trial-farm FARM_NETWORK=198.18.0.0/16 FARM_KEY=$MACHINIST_SSH_KEY
  export FARM_HOST=/proc/$$/ns/net
  unset HCLOUD_TOKEN HCLOUD_TOKEN_FILE HCLOUD_ENDPOINT
  secret=test-token
  # The other side: a first machine, so that there is a network, and the cloud in it.
  must "the cloud's directory" 0 '' machinist init "$farm" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  echo "client 198.18.0.250" >"$farm/list"
  cat >"$farm/machines.nix" <<NIX
{ cluster = { name = "$FARM_NAME"; operators = import ./operators.nix; }; network.nodes = "$FARM_NETWORK";
  machines.client = { ip = "198.18.0.250"; provider = "sandbox"; }; }
NIX
  must "a network" 0 '' machinist -C "$farm" sandbox up
  operator=$(machinist -C "$farm" sandbox status --json | jq -r .operatorNamespace)
  in_background "$operator" "$here/cloud" test-cloud --machines "$project/testbed/clouds/machine"
  wait_until 30 test -s "$here/cloud" || fail "the test cloud listens" "$(cat "$here/cloud")"
  hetzner=$(head -n 1 "$here/cloud" | jq -r .hetzner)
  control=$(head -n 1 "$here/cloud" | jq -r .control)
}
servers_down() {
  [ -n "${TRIAL_KEEP:-}" ] || machinist -C "$farm" sandbox down >/dev/null 2>&1
}
ask_cloud() {
  outside curl --silent --show-error --max-time 10 -X "$1" "$control/$2" ${3:+--json "$3"}
}
count() {
  ask_cloud GET counts | jq -r ".hetzner.$1"
}
machines_of() {
  local node number=2
  echo "{ cluster = { name = \"$trial\"; operators = import ./operators.nix; }; network.nodes = \"$net.0/24\";"
  for node in $1; do
    echo "  machines.$node = { ip = \"$net.$number\"; roles = [ \"etcd\" ]; provider = \"hetzner\"; disk = \"/dev/vda\";"
    echo "    hetzner = { serverType = \"cx23\"; location = \"nbg1\"; }; };"
    number=$((number + 1))
  done
  echo "$2}"
}
at_cloud() {
  outside env PATH="$project/tests/stand-ins:$PATH" HCLOUD_ENDPOINT="$hetzner" HCLOUD_TOKEN_FILE="$here/token" "$@"
}
# No function in between: a signal must reach machinist itself.
start_m() {
  nsenter --net="$operator" env PATH="$project/tests/stand-ins:$PATH" HCLOUD_ENDPOINT="$hetzner" \
    HCLOUD_TOKEN_FILE="$here/token" machinist -C "$cluster" "$@" >"$log" 2>&1 </dev/null &
  last=$!
}
are_fewer_than() { # NUMBER of servers
  [ "$(count servers)" -lt "$1" ]
}
delete_server() {
  local before
  before=$(count servers)
  outside curl --silent --max-time 10 -X DELETE -H "Authorization: Bearer $secret" "$hetzner/servers/$1" >/dev/null
  wait_until 60 are_fewer_than "$before" || fail "a server is deleted by others" "$(count servers)"
}
# A node's address in the private network comes from machines.nix, which `facts` holds. A deleted server, which the fake
# moves to x.y.255.z, gets none; nor does one change meanwhile.
address_servers() (
  exec 9>"$farm/.lock"
  flock --timeout 60 9 || return
  machines=$(machinist -C "$farm" sandbox status --json 9>&-) || return
  while read -r id ip; do
    namespace=$(jq -r --arg name "s$id" '.machines[] | select(.name == $name and (.ip | contains(".255.") | not)).namespace' <<<"$machines")
    [ -n "$namespace" ] || continue
    ip -n "${namespace##*/}" address replace "$ip/24" dev eth0 || return
  done < <(jq -r --argjson servers "$(jq '.servers // {}' "$cluster/state/cluster.json")" \
    '.cluster.nodes[] | select($servers[.name]) | "\($servers[.name].id) \(.ip)"' <<<"$facts")
)
keep_addressing() {
  while sleep 1; do address_servers >/dev/null 2>&1; done &
  background+=("$!")
}
# The members of a cluster on new servers, from nothing to healthy.
servers_up() {
  local node
  must "servers are created" 0 'answers with its host key' m provision --yes
  must "certificates" 0 '' m certs gen
  for node in "$@"; do
    must "$node is installed" 0 'answers with its pinned host key' m install "$node" --yes
  done
  facts=$(m eval)
  must "the provider gives them their private addresses" 0 '' address_servers
  # As after a boot with them: etcd has tried to start without.
  must "etcd starts with them" 0 '' m exec @etcd -- systemctl restart --no-block etcd
  must "a cluster is deployed on them" 0 'etcd healthy' m deploy --all
}
