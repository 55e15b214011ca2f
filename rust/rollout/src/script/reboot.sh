# Reboots this host, exactly once: a repeated request while it shuts down, or when it is back, does nothing. Prints the
# current boot. Set before these lines: boot (the one to end), and the variables of holds.sh: the lock under which this
# happens.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
current=$(cat /proc/sys/kernel/random/boot_id)
echo "boot=$current"
if [ "$current" != "$boot" ]; then exit 0; fi
# No other run can take over the lock during this decision.
exec 9>"$lock.guard" && flock -w 10 9 || exit 1
if ! holds; then
  echo "lost=$gone"
  exit 0
fi
if [ "$(systemctl is-system-running 2>/dev/null)" != stopping ]; then systemctl reboot 9>&-; fi
