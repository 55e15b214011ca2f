# shellcheck shell=bash
# Probes for things that must be absent, each with a control that it must find. Sourced after tests/lib/cluster.sh.

# exposed PATTERN: a command for a node. It prints each match in the command lines and environments of the node's
# processes, and $exposed_control, which is in one of each.
exposed() {
  printf '%s' "CONTROL=environment sh -c 'cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr \"\\0\" \"\\n\" |
    grep -oE -e \"$1\" -e \"^CONTROL=(argument|environment)\" | sort -u | xargs' CONTROL=argument"
}
# shellcheck disable=SC2034
exposed_control='CONTROL=argument CONTROL=environment'

# tls_refusal NAMESPACE ADDRESS OPTION...: prints the alert with which a server ends the handshake with a client of
# these openssl options; nothing if it accepts the client, or does not respond.
tls_refusal() {
  local namespace=$1 address=$2 words
  shift 2
  # It fails, as it must.
  words=$(timeout 20 nsenter --net="$namespace" openssl s_client -ign_eof -connect "$address" "$@" </dev/null 2>&1)
  grep -om1 'alert [a-z ]*' <<<"$words"
}

# sandbox_traces: the kinds of traces of the sandbox $trial on this computer, `none` without any.
sandbox_traces() {
  local namespaces processes state found=()
  namespaces=$(ip netns list) && processes=$(ps -ww -eo args) && state=$(ls /var/lib/machinist/sandbox) || return
  ! grep -q -- "$trial" <<<"$namespaces" || found+=(namespaces)
  ! grep -q -- "machinist/sandbox/$trial" <<<"$processes" || found+=(processes)
  ! grep -qx -- "$trial" <<<"$state" || found+=(state)
  echo "${found[*]:-none}"
}
