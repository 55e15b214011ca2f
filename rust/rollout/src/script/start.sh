# Starts activate.sh in a transient unit. Set before these lines: directory, unit.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -e
: >"$directory/state"
systemd-run --quiet --collect --unit="$unit" --description="machinist: activate and wait for the confirmation" \
  --property=Type=exec --property=TimeoutStopSec=10 /bin/sh "$directory/activate"
