# shellcheck shell=bash
# The test cloud (testbed/clouds), whose servers can be machines of a sandbox of their own, the farm. Then all of it runs in
# the network of the farm's operator, where the test cloud listens, too. Sourced after tests/lib/cluster.sh, and after
# trial_begin; nixos-anywhere is a STAND-IN, because no machine can be kexec'd here.
#
#   farm_begin NETWORK ADDRESS  a farm with this network, with a first machine at the address, and with the operator's namespace
#   cloud_begin [OPTION...]  the test cloud: hetzner, digitalocean and control are its addresses. With the farm behind it:
#                          --machines "$project/testbed/clouds/machine"
#   cloud METHOD PATH [BODY]   a request to the cloud's API for tests
#   count PROVIDER KIND    the number of things of a kind at a provider
#   not_of_machines        checks of `install` that machines of a sandbox do not pass
#   check_contract         no request was outside of the contract of its provider
#   farm_addresses FACTS   gives each server its address in the private network, as the provider does at each boot

# shellcheck disable=SC2034
not_of_machines=container,disk,firmware,network,programs
# shellcheck disable=SC2034
farm_begin() {
  farm=$here/farm
  export STAND_IN_RECORD=$here/calls FARM=$farm FARM_NAME=$trial-farm FARM_NETWORK=$1 FARM_KEY=$MACHINIST_SSH_KEY
  export FARM_HOST=/proc/$$/ns/net
  unset HCLOUD_TOKEN HCLOUD_TOKEN_FILE HCLOUD_ENDPOINT
  unset DIGITALOCEAN_TOKEN DIGITALOCEAN_TOKEN_FILE DIGITALOCEAN_ACCESS_TOKEN DIGITALOCEAN_ENDPOINT
  must "a farm of machines" 0 '' machinist init "$farm" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  # A first machine, so that there is a network.
  echo "client $2" >"$farm/list"
  farm_up
  operator=$(machinist -C "$farm" sandbox status --json | jq -r .operatorNamespace)
}
# farm_up: starts the machines of the list.
farm_up() {
  local name address
  {
    echo "{ cluster = { name = \"$FARM_NAME\"; operators = import ./operators.nix; }; network.nodes = \"$FARM_NETWORK\";"
    while read -r name address; do echo "  machines.$name = { ip = \"$address\"; provider = \"sandbox\"; };"; done <"$farm/list"
    echo "}"
  } >"$farm/machines.nix"
  must "the farm's machines" 0 '' machinist -C "$farm" sandbox up
}
# farm_namespace MACHINE: the network namespace of one of its machines.
farm_namespace() {
  machinist -C "$farm" sandbox status --json | jq -r --arg name "$1" '.machines[] | select(.name == $name).namespace'
}
farm_end() {
  [ -n "${TRIAL_KEEP:-}" ] || machinist -C "$farm" sandbox down >/dev/null 2>&1
}
cloud_begin() {
  in_background "${operator:-/proc/self/ns/net}" "$here/cloud" test-cloud "$@"
  wait_until 30 test -s "$here/cloud" || fail "the test cloud listens" "$(cat "$here/cloud")"
  hetzner=$(head -n 1 "$here/cloud" | jq -r .hetzner)
  digitalocean=$(head -n 1 "$here/cloud" | jq -r .digitalocean)
  control=$(head -n 1 "$here/cloud" | jq -r .control)
}
cloud() {
  nsenter --net="${operator:-/proc/self/ns/net}" curl --silent --show-error --max-time 10 -X "$1" "$control/$2" ${3:+--json "$3"}
}
count() {
  cloud GET counts | jq -r ".$1.$2"
}
check_contract() {
  check_exit "the provider saw no request outside of its contract" 0 '^\[\] 0 0$' \
    jq -r '"\(.violations // []) \(.forbidden // 0) \(.refused // 0)"' <(cloud GET calls)
}
# An address comes from machines.nix, which FACTS holds. A deleted server, which the fake moves to x.y.255.z, gets none; nor
# does one change meanwhile.
farm_addresses() (
  exec 9>"$farm/.lock"
  flock --timeout 60 9 || return
  machines=$(machinist -C "$farm" sandbox status --json 9>&-) || return
  while read -r id ip prefix; do
    namespace=$(jq -r --arg name "s$id" '.machines[] | select(.name == $name and (.ip | contains(".255.") | not)).namespace' <<<"$machines")
    [ -n "$namespace" ] || continue
    ip -n "${namespace##*/}" address replace "$ip/$prefix" dev eth0 || return
  done < <(jq -r --argjson servers "$(jq '.servers // {}' "$cluster/state/cluster.json")" \
    '.cluster | (.network.nodes | split("/")[1]) as $prefix | .nodes[] | select($servers[.name]) | "\($servers[.name].id) \(.ip) \($prefix)"' <<<"$1")
)
