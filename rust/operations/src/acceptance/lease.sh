# Puts the keys on standard input, a `KEY VALUE` a line, with a lease, and prints `lease ID`. If one cannot be put, all are
# removed again. Set before these lines: endpoint and seconds (of the lease).
export PATH=/run/current-system/sw/bin:$PATH
etc() {
  machinist-etcdctl --command-timeout=5s --dial-timeout=3s --endpoints="$endpoint" "$@"
}
granted=$(etc lease grant "$seconds") || exit 1
lease=${granted#lease }
lease=${lease%% *}
while read -r key value; do
  etc put --lease="$lease" "$key" "$value" </dev/null >/dev/null || { etc lease revoke "$lease" >/dev/null; exit 1; }
done
echo "lease $lease"
