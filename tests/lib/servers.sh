# shellcheck shell=bash
# Members of etcd that are servers of Hetzner at the test cloud, for scripts that source tests/lib/clouds.sh before.
#
#   at_cloud COMMAND...    runs it with the token in $here/token
#   machines_of NAMES EXTRA    a machines.nix of members of etcd that are servers
#   begin_scan             from here on $here/token is in the environment of machinist, and $here/scan has the programs below it
#   start_m ARGUMENTS...   machinist in the background, with its output in $log; sets `last` to its process
#   delete_server ID       somebody deletes a server in the provider's console
#   keep_addressing        gives the private addresses again and again, in the background
#   servers_up NODE...     the members on new servers, from nothing to healthy

secret=test-token
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
begin_scan() {
  export HCLOUD_TOKEN=$secret
  "$project/tests/lib/scan-processes" machinist "$here/token" "$here/scan" &
  background+=("$!")
  wait_until 10 test -e "$here/scan"
}
# No function in between: a signal must reach machinist itself.
start_m() {
  nsenter --net="$operator" env PATH="$project/tests/stand-ins:$PATH" HCLOUD_ENDPOINT="$hetzner" \
    HCLOUD_TOKEN_FILE="$here/token" machinist -C "$cluster" "$@" >"$log" 2>&1 </dev/null &
  last=$!
}
are_fewer_than() { # NUMBER of servers
  [ "$(count hetzner servers)" -lt "$1" ]
}
delete_server() {
  local before
  before=$(count hetzner servers)
  outside curl --silent --max-time 10 -X DELETE -H "Authorization: Bearer $secret" "$hetzner/servers/$1" >/dev/null
  wait_until 60 are_fewer_than "$before" || fail "a server is deleted by others" "$(count hetzner servers)"
}
keep_addressing() {
  while sleep 1; do farm_addresses "$facts" >/dev/null 2>&1; done &
  background+=("$!")
}
# The members of a cluster on new servers, from nothing to healthy.
servers_up() {
  local node
  must "servers are created" 0 'answers with its host key' m provision --yes
  must "certificates" 0 '' m certs gen
  for node in "$@"; do
    must "$node is installed" 0 'answers with its pinned host key' m install "$node" --yes --ignore "$not_of_machines"
  done
  facts=$(m eval)
  must "the provider gives them their private addresses" 0 '' farm_addresses "$facts"
  # As after a boot with them: etcd has tried to start without.
  must "etcd starts with them" 0 '' m exec @etcd -- systemctl restart --no-block etcd
  must "a cluster is deployed on them" 0 'etcd healthy' m deploy --all
}
