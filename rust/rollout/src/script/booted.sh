# Waits until the boot is over, and says how: `running`, `degraded`, or what it still waits for when the time is over. Set
# before these lines: bound, in seconds.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
deadline=$(($(cut -d. -f1 /proc/uptime) + bound))
while :; do
  state=$(systemctl is-system-running 2>/dev/null)
  case $state in
    running | degraded | maintenance) break ;;
  esac
  if [ "$(cut -d. -f1 /proc/uptime)" -ge "$deadline" ]; then break; fi
  sleep 0.2
done
echo "${state:-unknown}"
case $state in
  running | degraded) ;;
  *) systemctl list-jobs --plain --no-legend --no-pager 2>/dev/null | awk '{ print $2 }' | head -n 5 ;;
esac
