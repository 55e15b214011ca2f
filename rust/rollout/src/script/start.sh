# Writes activate.sh from standard input to a file and starts it in a transient unit: one request, because each one
# takes three round trips. Set before these lines: directory, unit, length (of the input, in bytes).
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -e
# Only root may read it.
umask 077
mkdir -p "$directory"
cat >"$directory/activate.new"
if [ "$(wc -c <"$directory/activate.new")" -ne "$length" ]; then
  echo "the activation did not arrive whole" >&2
  exit 1
fi
mv -f "$directory/activate.new" "$directory/activate"
# A resumed run may have been here before: its earlier requests must not count now.
rm -f "$directory/confirm" "$directory/abort"
: >"$directory/state"
systemd-run --quiet --collect --unit="$unit" --description="machinist: activate and wait for the confirmation" \
  --property=Type=exec --property=TimeoutStopSec=10 /bin/sh "$directory/activate"
