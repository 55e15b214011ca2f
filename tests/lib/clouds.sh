# shellcheck shell=bash
# The test cloud (testbed/clouds) with sandbox machines for its servers, in the network of an operator of its own. Used
# after tests/lib/cluster.sh; the script has set `project` and begun its trial.
#
#   clouds_begin          sets farm, operator, hetzner, digitalocean and control: the base URLs of the APIs
#   clouds_end            removes the machines
#   cloud METHOD PATH [BODY]   the test cloud's API for tests
#   count PROVIDER KIND   the number of things at a provider

# clouds_begin: the other side is a cluster's directory of one machine, so that there is a network, and the cloud in it.
clouds_begin() {
  farm=$here/farm
  export STAND_IN_RECORD=$here/calls FARM=$farm FARM_NAME=$trial-farm FARM_NETWORK=198.18.0.0/15 FARM_KEY=$MACHINIST_SSH_KEY
  export FARM_HOST=/proc/$$/ns/net
  unset HCLOUD_TOKEN HCLOUD_TOKEN_FILE HCLOUD_ENDPOINT
  unset DIGITALOCEAN_TOKEN DIGITALOCEAN_TOKEN_FILE DIGITALOCEAN_ACCESS_TOKEN DIGITALOCEAN_ENDPOINT
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
  digitalocean=$(head -n 1 "$here/cloud" | jq -r .digitalocean)
  control=$(head -n 1 "$here/cloud" | jq -r .control)
}
# For the script's own trial_finish.
clouds_end() {
  [ -n "${TRIAL_KEEP:-}" ] || machinist -C "$farm" sandbox down >/dev/null 2>&1
}
cloud() { # METHOD PATH [BODY]
  outside curl --silent --show-error --max-time 10 -X "$1" "$control/$2" ${3:+--json "$3"}
}
count() { # PROVIDER KIND
  cloud GET counts | jq -r ".$1.$2"
}
# No request was outside of the contract of its provider.
check_contract() {
  check_exit "the provider saw no request outside of its contract" 0 '^\[\] 0 0$' \
    jq -r '"\(.violations // []) \(.forbidden // 0) \(.refused // 0)"' <(cloud GET calls)
}
