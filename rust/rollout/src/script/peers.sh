# Makes this host a source for its peers while a run copies. Set before these lines: directory, unit, run, address,
# listen, port, token, seconds, and the texts of two scripts: serve and watch. Slices of the copy are put into the
# directory later. The unit ends by itself and removes the directory, however the run ends.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
set -e
umask 022
# Remove the leftovers of an interrupted run. This run holds the node's lock now, so no other run copies to it.
systemctl stop 'machinist-peers-*.service' 2>/dev/null || true
rm -rf "$directory"
mkdir -p "$directory"
number=0
while [ "$number" -lt 32 ]; do
  : >"$directory/place.$number"
  number=$((number + 1))
done
printf 'directory=%s token=%s\n%s\n' "$directory" "$token" "$serve" >"$directory/serve"
printf 'directory=%s run=%s listen=%s\n%s\n' "$directory" "$run" "$listen" "$watch" >"$directory/watch"
printf 'PATH=%s\nrm -rf %s\n' "$PATH" "$directory" >"$directory/clean"
# A dedicated user, and a file system that is read-only for it.
systemd-run --quiet --collect --unit="$unit" --description="machinist: hands store paths on to other nodes" \
  --property=DynamicUser=yes --property=RuntimeMaxSec="$seconds" --property=CapabilityBoundingSet= \
  --property=RestrictAddressFamilies="AF_INET AF_INET6 AF_UNIX" --property=MemoryDenyWriteExecute=yes \
  --property=TimeoutStopSec=5 --property="ExecStopPost=+/bin/sh $directory/clean" /bin/sh "$directory/watch"
tries=0
until address=$address port=$port bash -c ': <>"/dev/tcp/$address/$port"' 2>/dev/null; do
  tries=$((tries + 1))
  if [ "$tries" -ge 40 ]; then
    echo "nothing listens on $listen" >&2
    exit 1
  fi
  sleep 0.05
done
