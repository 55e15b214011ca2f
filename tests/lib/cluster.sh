# shellcheck shell=bash
# A cluster in the sandbox for a test script, which has set `project`: a directory and a network of its own, which go when the
# script ends. TRIAL_KEEP=1 leaves the machines and the directory for a look. Needs root, and `machinist` on PATH: ./test PATH.
#
#   trial_begin NAME   sets trial, net, here, cluster, log, and what machinist reads from the environment
#   trial_init FILE    the cluster's directory from FILE, a machines.nix, and from `nodes` beside it
#   trial_up FILE      the same, with certificates and machines
#   trial_end          the last line; fails if a check failed

# shellcheck source=tests/lib/checks.sh
. "$project/tests/lib/checks.sh"

# Addresses and network namespaces of the machines, and the namespace of the operator.
declare -gA ip=() namespaces=()
operator=

trial_begin() {
  trial=$1-$$
  here=$(mktemp -d "${TMPDIR:-/var/tmp}/machinist-$1-XXXXXX")
  cluster=$here/cluster
  log=$here/log
  background=()
  export MACHINIST_IDENTITY=$here/identity.txt MACHINIST_SSH_KEY=$here/id_ed25519 NO_COLOR=1
  trap trial_clean EXIT
  take_network || exit 1
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$MACHINIST_SSH_KEY"
}
# Sets `net`, the first three numbers of a network that no other script uses. It is reserved while this script or one of
# the machines that it started has the file open.
take_network() {
  local number lock
  mkdir -p /run/machinist-tests
  for number in $(seq 30 250); do
    exec {lock}>"/run/machinist-tests/10.13.$number"
    if flock --nonblock "$lock"; then
      net=10.13.$number
      return
    fi
    exec {lock}>&-
  done
  echo "no network from 10.13.30.0/24 to 10.13.250.0/24 is free" >&2
  return 1
}
# A script with additional cleanup defines trial_finish.
trial_clean() {
  ! declare -F trial_finish >/dev/null || trial_finish
  [ ${#background[@]} = 0 ] || kill "${background[@]}" 2>/dev/null
  if [ -n "${TRIAL_KEEP:-}" ]; then
    echo "kept: $here"
    return
  fi
  [ -e "$cluster/machines.nix" ] && machinist -C "$cluster" sandbox down >/dev/null 2>&1
  rm -rf "$here"
}
trial_end() {
  print_counts
}
# as_trial FILE: prints the machines.nix FILE with the name and the network of this trial, which replace the first name
# in the file and the network of the first address.
as_trial() {
  local before
  before=$(grep -oEm1 '10\.[0-9]+\.[0-9]+\.' "$1" | head -n 1)
  sed "0,/name = \"[^\"]*\"/s//name = \"$trial\"/; s/\b${before//./\\.}/$net./g" "$1"
}
trial_init() {
  local nodes
  nodes=$(dirname "$1")/nodes
  as_trial "$1" >"$here/machines.nix"
  must "init" 0 '' m init --from "$here/machines.nix" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  mkdir -p "$cluster/nodes"
  [ ! -d "$nodes" ] || cp "$nodes"/* "$cluster/nodes/"
  git -C "$cluster" add --all
}
trial_up() {
  trial_init "$1"
  must "certificates" 0 '' m certs gen
  must "sandbox up" 0 '' m sandbox up
  read_machines
}
# Reads the list of machines. Called once after each `sandbox up`: a waiting check is often shorter than this query.
read_machines() {
  local status name address namespace
  status=$(m sandbox status --json) || return
  operator=$(jq -r .operatorNamespace <<<"$status")
  while read -r name address namespace; do
    ip[$name]=$address namespaces[$name]=$namespace
  done < <(jq -r '.machines[] | [.name, .ip, .namespace] | join(" ")' <<<"$status")
}

m() {
  machinist -C "$cluster" "$@"
}
address() {
  echo "${ip[$1]}"
}
namespace() {
  echo "${namespaces[$1]}"
}
# ssh_to NODE OPTION... COMMAND: connects as machinist does, with the pinned host key.
ssh_to() {
  local node=$1
  shift
  nsenter --net="$operator" ssh -q -i "$MACHINIST_SSH_KEY" -o UserKnownHostsFile="$cluster/state/known_hosts" \
    -o StrictHostKeyChecking=yes -o ConnectTimeout=5 -o BatchMode=yes "root@${ip[$node]}" \
    "export PATH=/run/current-system/sw/bin:\$PATH:/usr/sbin; $*"
}
# on NODE COMMAND...: runs a command on the machine. on_input: with this shell's standard input.
on() {
  ssh_to "$@" </dev/null
}
on_input() {
  ssh_to "$@"
}
# inside NODE COMMAND...: runs a local program in the machine's network. outside: in the operator's.
inside() {
  local node=$1
  shift
  nsenter --net="${namespaces[$node]}" "$@"
}
outside() {
  nsenter --net="$operator" "$@"
}
# in_background NAMESPACE OUTPUT COMMAND...: the same, in the background. Sets `last` to its process, which ends with
# the script.
in_background() {
  local namespace=$1 output=$2
  shift 2
  # No function in between: a signal must reach the program itself.
  nsenter --net="$namespace" "$@" >"$output" 2>&1 </dev/null &
  last=$!
  background+=("$last")
}
# bring NODE PACKAGES...: installs the contents of Debian packages on a machine whose root does not have them.
bring() {
  local node=$1 root
  shift
  # shellcheck source=/dev/null
  root=$(. "/var/lib/machinist/sandbox/$trial/machines/$node/settings" && echo "$root")
  "$project/testbed/programs" "$root" "$@" 2>"$here/programs" |
    on_input "$node" 'tar --extract --directory / --skip-old-files && ldconfig' || fail "install $* on $node" "$(tail -n 20 "$here/programs")"
}
