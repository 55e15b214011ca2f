# Fetches a slice from a peer, verifies that it is the one that the operator sent there, and only then imports it. Set
# before these lines: directory, slice, digest, address, port, token, bytes, seconds.
umask 022
new=$directory/$slice.new
trap 'rm -f "$new"' EXIT
# In the environment, because every user of the host can read arguments. The first call only bounds the time to connect.
export address port token slice bytes
if ! timeout 3 bash -c ': <>"/dev/tcp/$address/$port"' 2>/dev/null; then
  echo "cannot connect to port $port of $address" >&2
  exit 1
fi
timeout "$seconds" bash -c 'exec 3<>"/dev/tcp/$address/$port" && echo "$token $slice" >&3 && exec head -c "$bytes" <&3' >"$new" || {
  echo "the stream from $address broke off" >&2
  exit 1
}
set -- $(sha256sum <"$new")
if [ "$1" != "$digest" ]; then
  echo "what $address sent is not what the operator sent there" >&2
  exit 1
fi
import_durably <"$new" || exit 1
mv -f "$new" "$directory/$slice" && echo kept
