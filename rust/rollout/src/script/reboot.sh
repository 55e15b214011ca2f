# Reboots this host, once: asked again while it goes down, or when it is back, it does nothing. Says which boot this is.
# Set before these lines: boot (the one that is to end), and what holds.sh says: the lock under which this happens.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
current=$(cat /proc/sys/kernel/random/boot_id)
echo "boot=$current"
if [ "$current" != "$boot" ]; then exit 0; fi
# Nobody takes the lock over while this is decided.
exec 9>"$lock.guard" && flock -w 10 9 || exit 1
if ! holds; then
  echo "lost=$gone"
  exit 0
fi
if [ "$(systemctl is-system-running 2>/dev/null)" != stopping ]; then systemctl reboot 9>&-; fi
