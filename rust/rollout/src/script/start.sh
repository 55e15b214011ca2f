# Starts activate.sh in a transient unit. Set before these lines: directory, unit.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -e
# A run that is resumed may have been here before: what was said then must not count now.
rm -f "$directory/confirm" "$directory/abort"
: >"$directory/state"
systemd-run --quiet --collect --unit="$unit" --description="machinist: activate and wait for the confirmation" \
  --property=Type=exec --property=TimeoutStopSec=10 /bin/sh "$directory/activate"
