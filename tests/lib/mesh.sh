# shellcheck shell=bash
# A mesh in the sandbox: its agents' responses, and a constant load on it. Sourced after tests/lib/cluster.sh; needs
# `machinist-agent` beside `machinist`.

# nixos-lite builds no Rust: it copies the agent from there into the closures.
use_built_agent() {
  mkdir -p "$project/testbed/nixos-lite/prebuilt"
  cp -pL "$(dirname "$(command -v machinist)")/machinist-agent" "$project/testbed/nixos-lite/prebuilt/"
}
# mesh_up FILE: as trial_up, with the agent in the closures.
mesh_up() {
  use_built_agent
  trial_up "$1"
}
# routed NODE BOUND APPLICATION SERVER...: prints the seconds until the node routes the application to exactly these.
routed() {
  inside "$1" "$project/tests/mesh/watch" "$(patience "$2")" "${@:3}"
}
# agent NODE PATH: prints the response of the node's agent.
agent() {
  inside "$1" curl --silent --max-time 5 "http://127.0.0.1:9470/$2"
}
# follows_etcd NODE: succeeds if its agent watches etcd and keeps its lease.
follows_etcd() {
  agent "$1" status | jq -c '[.watching, .leased]'
}
# get NODE PORT: prints the response at the port.
get() {
  inside "$1" curl --silent --max-time 5 "http://127.0.0.1:$2/"
  echo
}
# answers NODE PORT COUNT: the instances that respond to so many requests.
answers() {
  local request
  for ((request = 0; request < $3; request++)); do get "$1" "$2"; done | sort -u | xargs
}
etcdctl() {
  on etcd1 "machinist-etcdctl $*"
}

# begin_load NODE [PORT [CLIENTS [ADDRESS HOST]]]: sends requests continuously, from the node's network or, for
# `outside`, from the operator's; half of the clients keep their connection. Returns when the first one was answered.
begin_load() {
  local from=$operator port=${2:-8000} clients=${3:-8}
  [ "$1" = outside ] || from=${namespaces[$1]}
  [ -p "$here/load-says" ] || mkfifo "$here/load-says"
  # Opened for both directions, so that neither side waits for the other one to open it.
  exec {load_says}<>"$here/load-says"
  LOAD_SAYS=$here/load-says in_background "$from" "$here/load" "$project/tests/mesh/load" "$port" "$clients" "${@:4}"
  load=$last
  await_load
}
# more_load: returns when two hundred more requests were answered.
more_load() {
  kill -USR1 "$load" && await_load
}
await_load() {
  local said
  read -r -t 60 said <&"$load_says" || fail "the load is answered" "$(cat "$here/load")" "$said"
}
stop_load() {
  kill -TERM "$load"
  wait "$load"
  load=
  exec {load_says}>&-
}
# loaded FILTER: the load's results, through a jq filter.
loaded() {
  jq -c "$1" "$here/load"
}
# end_load NAME: stops it; no request has failed.
end_load() {
  stop_load
  equal "$1: of $(loaded '.answers | add') requests none failed" "$(loaded '[.failed, .failures]')" '[0,[]]'
}

# figure NAME VALUE: a line of the table at the end.
figures=()
figure() {
  figures+=("$(printf '%-78s %s' "$1" "$2")")
}
print_figures() {
  printf '\n%s cores, load %s\n' "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)"
  printf '%s\n' "${figures[@]}"
}
