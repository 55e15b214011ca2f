# Prints the facts of this host, a `key=value` a line. Changes nothing. Every deploy runs this on every host, so it
# starts few processes.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
echo "time=$(date +%s%3N)"
read -r boot </proc/sys/kernel/random/boot_id && echo "boot=$boot"
read -r uptime _ </proc/uptime && echo "uptime=${uptime%%.*}"
echo "arch=$(uname -m)"
echo "running=$(readlink -f /run/current-system 2>/dev/null)"
echo "profile=$(readlink -f /nix/var/nix/profiles/system 2>/dev/null)"
# free NAME DIRECTORY: the free bytes there.
free() {
  df -B1 --output=avail "$2" 2>/dev/null | { read -r _ && read -r bytes && echo "$1=$bytes"; }
}
free store_free /nix/store
# Directories that machinist itself writes to: free bytes and files. A file system without a limit of files prints `-`.
kept=/var/lib/machinist
if ! [ -d "$kept" ]; then kept=/var; fi
df -B1 --output=file,avail,iavail,itotal "$kept" /run 2>/dev/null | while read -r place bytes files limit; do
  case $place in /*) ;; *) continue ;; esac
  if [ "$limit" = 0 ] || [ "$limit" = - ]; then files=-; fi
  echo "room=$place $bytes $files"
done
# The boot loader's directory of kernels: a separate mount that has its folder of them, else the first that exists.
# systemd-boot takes the EFI partition, which may be at /efi; GRUB and extlinux take /boot.
places="/boot /efi /boot/efi"
mounts=
while read -r _ _ _ _ directory _; do
  case " $places " in *" $directory "*) mounts="$mounts $directory " ;; esac
done </proc/self/mountinfo
boot_at=
for directory in $places; do
  case $mounts in *" $directory "*) ;; *) continue ;; esac
  for folder in "$directory/EFI/nixos" "$directory/kernels" "$directory/nixos"; do
    if [ -d "$folder" ]; then
      boot_at=$directory
      for file in "$folder"/*; do
        if [ -f "$file" ]; then echo "boot_file=${file##*/}"; fi
      done
      break 2
    fi
  done
done
if [ -z "$boot_at" ]; then
  case $mounts in *" /boot "*) boot_at=/boot ;; *" /efi "*) boot_at=/efi ;; esac
fi
if [ -n "$boot_at" ]; then
  echo "boot_at=$boot_at"
  free boot_free "$boot_at"
fi
if [ -d /var/lib/etcd/member ] || [ -d /var/lib/rancher/k3s/server/db/etcd/member ]; then echo "etcd_data=yes"; fi
# Location of the API's virtual address: reported by nodes that may hold it, if they hold it now.
if [ -r /etc/machinist/virtual-address ]; then
  read -r address </etc/machinist/virtual-address
  if [ -n "$(ip -o address show to "$address" 2>/dev/null)" ]; then echo "virtual_address=yes"; fi
fi
if [ -r /etc/machinist/kubernetes-version ]; then
  read -r version </etc/machinist/kubernetes-version && echo "kubernetes=$version"
fi
if ! command -v nix-store >/dev/null; then echo "lacks=nix-store"; fi
if ! command -v systemd-run >/dev/null; then echo "lacks=systemd-run"; fi
# Files that only a reboot puts into effect: those that were booted, and those of the running system.
set --
for system in booted current; do
  for link in kernel initrd kernel-modules; do
    if [ -e "/run/$system-system/$link" ]; then set -- "$@" "/run/$system-system/$link"; fi
  done
  if [ -r "/run/$system-system/kernel-params" ]; then
    read -r value <"/run/$system-system/kernel-params"
    printf '%s=kernel-params=%s\n' "$system" "$value"
  fi
done
if [ $# -gt 0 ]; then
  readlink -f "$@" | for link; do
    system=${link%-system/*}
    read -r path && echo "${system##*/}=${link##*/}=$path"
  done
fi
echo "booted_system=$(readlink -f /run/booted-system 2>/dev/null)"
switch_files /run/current-system switch=
for key in /var/lib/machinist/keys/*.key; do
  if [ -s "$key" ]; then echo "key=${key##*/}"; fi
done
# The status is checked before the output is parsed: a systemd that does not respond must not look like one without
# failed units.
units=$(systemctl list-units --plain --no-legend --no-pager 2>/dev/null) || echo "failed=systemd itself, which does not answer"
printf '%s\n' "$units" | while read -r unit _ active sub _; do
  case $active in
    failed) echo "failed=$unit" ;;
    activating)
      # Pending next start: a service that exited successfully is not a problem.
      case $sub in
        auto-restart*)
          if [ "$(systemctl show --property=Result --value "$unit")" != success ]; then echo "restarting=$unit"; fi
          ;;
      esac
      ;;
    active | reloading | refreshing) case $unit in etcd.service | k3s.service) echo "etcd_active=yes" ;; esac ;;
  esac
  case $unit in machinist-activate-*) echo "activation=$unit" ;; esac
done
while read -r metric value; do
  case $metric in
    machinist_certificate_not_after_timestamp_seconds{*)
      name=${metric#*\"}
      echo "certificate=$value ${name%\"*}"
      ;;
  esac
done 2>/dev/null </var/lib/machinist/metrics/machinist_certificates.prom
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
