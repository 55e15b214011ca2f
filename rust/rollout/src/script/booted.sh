# Waits until the boot has finished, then runs the system's own gates. Prints the state: `running`, `degraded`, or
# another state of systemd if the time is up, followed by up to five pending jobs, one a line; or `gate NAME WHY` for a
# gate that stays closed, or `restless UNITS` for services that do not stay up.
# Set before these lines: bound and gates, in seconds: for the boot, and for all gates together; 0 skips them. And
# unwell: units that were unhealthy before the reboot.
deadline=$(($(uptime_seconds) + bound))
while :; do
  state=$(systemctl is-system-running 2>/dev/null)
  case $state in
    running | degraded | maintenance) break ;;
  esac
  if [ "$(uptime_seconds)" -ge "$deadline" ]; then break; fi
  sleep 0.2
done
echo "${state:-unknown}"
case $state in
  running | degraded) ;;
  *)
    systemctl list-jobs --plain --no-legend --no-pager 2>/dev/null | awk '{ print $2 }' | head -n 5
    exit 0
    ;;
esac

# Services have to stay up from here on, at least until all gates are open.
watch_from "$(services)" "$quiet_first"
watch() {
  while :; do
    watch_round
    case $? in
      0) exit 0 ;;
      2) echo "restless $(printf '%s\n' "$restless" | tr '\n' ' ')"; exit 0 ;;
    esac
    sleep 1
  done
}

# The same gates as in an activation: name, seconds, script.
if [ "$gates" -eq 0 ] || ! [ -r /run/current-system/etc/machinist/gates ]; then watch; fi
latest=$(($(uptime_seconds) + gates))
while read -r gate seconds script; do
  closes=$(($(uptime_seconds) + seconds))
  if [ "$closes" -gt "$latest" ]; then closes=$latest; fi
  while :; do
    left=$((closes - $(uptime_seconds)))
    if [ "$left" -lt 1 ]; then left=1; fi
    said=$(timeout -k 2 "$left" "$script" </dev/null 2>&1)
    code=$?
    if [ "$code" -eq 0 ]; then break; fi
    if [ "$(uptime_seconds)" -ge "$closes" ]; then
      why=$(printf '%s\n' "$said" | grep . | tail -n 1 | cut -c 1-300)
      if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then why="it does not answer"; fi
      echo "gate $gate ${why:-it ended with status $code}"
      exit 0
    fi
    sleep 1
  done
done </run/current-system/etc/machinist/gates
watch
