# Listens for the node's peers until the run that started it no longer holds the node's lock: the operator's computer
# may have died, and the port must not stay open longer than needed. Set before these lines: directory, run, listen.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
systemd-socket-activate --accept --inetd --listen="$listen" /bin/sh "$directory/serve" 2>/dev/null &
server=$!
while kill -0 "$server" 2>/dev/null; do
  found='' expires=0
  while IFS='=' read -r name value; do
    case $name in
      run) found=$value ;;
      expires) expires=$value ;;
    esac
  done </var/lib/machinist/lock
  [ "$found" = "$run" ] && [ "$expires" -ge "$(cut -d. -f1 /proc/uptime)" ] || exit 0
  sleep 2
done
exit 1
