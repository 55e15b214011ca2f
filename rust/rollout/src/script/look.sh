# Prints the holder of this node's lock and the facts that decide whether it may be taken: `key=value` a line. Changes
# nothing.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
# A systemd that does not respond must not look like one without activations.
units=$(systemctl list-units --plain --no-legend --no-pager 'machinist-activate-*' 2>/dev/null) || units=unknown
if [ -n "$units" ]; then echo "activating=yes"; fi
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
read -r uptime _ </proc/uptime && echo "uptime=${uptime%%.*}"
read -r machine 2>/dev/null </etc/machine-id && echo "machine=$machine"
read -r name 2>/dev/null </run/current-system/etc/hostname
if [ -n "${name:-}" ]; then echo "name=$name"; fi
while IFS= read -r line; do
  echo "lock=$line"
done 2>/dev/null </var/lib/machinist/lock
true
