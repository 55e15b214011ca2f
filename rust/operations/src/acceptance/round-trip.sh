# Writes a key through this node's own member of etcd, reads it through every member, and removes it. Its lease removes it
# when this script cannot. Set before these lines: endpoint, key, value, seconds (of the lease) and members (NAME=URL, in
# words). Prints `read NAME` for each member that returned the value, and `removed` at the end.
export PATH=/run/current-system/sw/bin:$PATH
etc() {
  machinist-etcdctl --command-timeout=5s --dial-timeout=3s "$@"
}
lease=
clean() {
  if [ -n "$lease" ]; then etc --endpoints="$endpoint" lease revoke "$lease" >/dev/null && echo removed; fi
  lease=
}
trap clean EXIT
trap 'exit 1' HUP INT TERM
granted=$(etc --endpoints="$endpoint" lease grant "$seconds") || exit 1
# lease ID granted with TTL(60s)
lease=${granted#lease }
lease=${lease%% *}
etc --endpoints="$endpoint" put --lease="$lease" "$key" "$value" >/dev/null || exit 1
for member in $members; do
  found=$(etc --endpoints="${member#*=}" get --print-value-only "$key")
  if [ "$found" = "$value" ]; then
    echo "read ${member%%=*}"
  else
    echo "through ${member%%=*}: ${found:-nothing}" >&2
  fi
done
