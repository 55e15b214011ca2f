# shellcheck shell=bash
# A client of etcd that writes and reads continuously, and records acknowledged writes (tests/ledger). Sourced after
# tests/lib/cluster.sh; needs `ledger` on PATH.

ledger=
# ledger_client NAME: saves the certificates and the key of an operator's client at this moment, for later use.
ledger_client() {
  cp "$cluster/certs/authorities/etcd.pem" "$here/$1-ca.pem"
  cp "$cluster/certs/operators/etcd-operator.pem" "$here/$1.pem"
  age --decrypt --identity "$MACHINIST_IDENTITY" "$cluster/certs/operators/etcd-operator.key.age" >"$here/$1.key"
}
# ledger_begin PREFIX CLIENT: starts writing below the prefix, at all `nodes`. Returns when the first write was
# acknowledged.
ledger_begin() {
  local endpoints=() node
  for node in "${nodes[@]}"; do endpoints+=(--endpoint "https://${ip[$node]}:2379"); done
  in_background "$operator" "$here/ledger-$1" ledger "${endpoints[@]}" --ca "$here/$2-ca.pem" --certificate "$here/$2.pem" \
    --key "$here/$2.key" --prefix "$1" --acknowledged "$here/acknowledged-$1"
  ledger=$last
  wait_until 60 grep -q . "$here/acknowledged-$1" || fail "a ledger writes" "$(cat "$here/ledger-$1")"
}
# ledger_end PREFIX NAME [SECONDS]: no acknowledged write is lost, no read was stale, and writes never paused for
# longer.
ledger_end() {
  local status longest
  kill -TERM "$ledger"
  wait "$ledger"
  status=$?
  ledger=
  longest=$(jq -r .longestGap "$here/ledger-$1" 2>/dev/null)
  if [ "$status" = 0 ] && awk -v gap="$longest" -v most="${3:-999}" 'BEGIN { exit !(gap ~ /^[0-9.]+$/ && gap + 0 < most + 0) }'; then
    pass "$2"
  else
    fail "$2" "status $status, at most ${3:-any} s without a write" "$(cat "$here/ledger-$1")"
  fi
  jq -r '"      \(.acknowledged) writes acknowledged, \(.notAcknowledged) not, \(.reads) reads; longest time without a successful write \(.longestGap) s"' \
    "$here/ledger-$1" 2>/dev/null
}
