# Puts activate.sh in place, which comes on standard input, and starts it in a transient unit: one request, because each
# takes three round trips. Set before these lines: directory, unit, length (of the input, in bytes).
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -e
# Only root may look in.
umask 077
mkdir -p "$directory"
cat >"$directory/activate.new"
if [ "$(wc -c <"$directory/activate.new")" -ne "$length" ]; then
  echo "the activation did not arrive whole" >&2
  exit 1
fi
mv -f "$directory/activate.new" "$directory/activate"
# A run that is resumed may have been here before: what was said then must not count now.
rm -f "$directory/confirm" "$directory/abort"
: >"$directory/state"
systemd-run --quiet --collect --unit="$unit" --description="machinist: activate and wait for the confirmation" \
  --property=Type=exec --property=TimeoutStopSec=10 /bin/sh "$directory/activate"
