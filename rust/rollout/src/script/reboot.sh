# Reboots this host, once: asked again while it goes down, or when it is back, it does nothing. Says which boot this is.
# Set before these lines: boot (the one that is to end), fence and run: the lock under which this happens.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
now=$(cat /proc/sys/kernel/random/boot_id)
echo "boot=$now"
if [ "$now" != "$boot" ]; then exit 0; fi
lock=/var/lib/machinist/lock
# Nobody takes the lock over while this is decided.
exec 9>"$lock.guard" && flock -w 10 9 || exit 1
if ! grep -qxF "fence=$fence" "$lock" || ! grep -qxF "run=$run" "$lock"; then
  echo "lost=$(sed -n 's/^who=//p' "$lock")"
  exit 0
fi
if [ "$(systemctl is-system-running 2>/dev/null)" != stopping ]; then systemctl reboot 9>&-; fi
