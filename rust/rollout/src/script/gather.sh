# Says what is true on this host, a `key=value` a line. Changes nothing.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
echo "time=$(date +%s%3N)"
echo "boot=$(cat /proc/sys/kernel/random/boot_id)"
echo "uptime=$(cut -d. -f1 /proc/uptime)"
echo "arch=$(uname -m)"
echo "running=$(readlink -f /run/current-system 2>/dev/null)"
echo "profile=$(readlink -f /nix/var/nix/profiles/system 2>/dev/null)"
echo "store_free=$(df -B1 --output=avail /nix/store 2>/dev/null | tail -n 1 | tr -d ' ')"
if mountpoint -q /boot; then echo "boot_free=$(df -B1 --output=avail /boot 2>/dev/null | tail -n 1 | tr -d ' ')"; fi
if [ -d /var/lib/etcd/member ]; then echo "etcd_data=yes"; fi
if systemctl is-active --quiet etcd.service; then echo "etcd_active=yes"; fi
if ! command -v nix-store >/dev/null; then echo "lacks=nix-store"; fi
if ! command -v systemd-run >/dev/null; then echo "lacks=systemd-run"; fi
# What only a reboot changes.
for link in kernel initrd kernel-modules; do
  if [ -e "/run/booted-system/$link" ]; then echo "booted=$link=$(readlink -f "/run/booted-system/$link")"; fi
done
for text in kernel-params init-interface-version; do
  if [ -r "/run/booted-system/$text" ]; then
    read -r value <"/run/booted-system/$text"
    printf 'booted=%s=%s\n' "$text" "$value"
  fi
done
for key in /var/lib/machinist/keys/*.key; do
  if [ -s "$key" ]; then echo "key=${key##*/}"; fi
done
systemctl list-units --failed --plain --no-legend --no-pager 2>/dev/null | while read -r unit _; do
  echo "failed=$unit"
done
for unit in $(systemctl list-units --plain --no-legend --no-pager 'machinist-activate-*' 2>/dev/null | cut -d' ' -f1); do
  echo "activation=$unit"
done
while IFS= read -r line; do
  echo "last=$line"
done 2>/dev/null </var/lib/machinist/activation
while IFS= read -r line; do
  echo "confirmed=$line"
done 2>/dev/null </var/lib/machinist/confirmed
while IFS= read -r line; do
  echo "lock=$line"
done 2>/dev/null </var/lib/machinist/lock
true
