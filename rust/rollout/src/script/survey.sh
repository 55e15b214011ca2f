# Prints what decides whether NixOS can be installed on this machine, a `key=value` a line. It runs on the system before
# NixOS, of any distribution, as any user, and changes nothing. Variable: disks, paths a line.
PATH=$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin
export PATH LC_ALL=C
has() {
  command -v "$1" >/dev/null 2>&1
}
# put KEY FILE: the first line of the file, if it can be read.
put() {
  if [ -r "$2" ]; then
    value=
    read -r value <"$2" 2>/dev/null
    if [ -n "$value" ]; then echo "$1=$value"; fi
  fi
}
echo "os=$(uname -s)"
echo "arch=$(uname -m)"
echo "uid=$(id -u)"
if has sudo && sudo -n true 2>/dev/null || has doas && doas -n true 2>/dev/null; then echo "sudo=yes"; fi
if [ -r /etc/os-release ]; then
  while IFS='=' read -r key value; do
    case $key in ID | VARIANT_ID | PRETTY_NAME) echo "release/$key=$value" ;; esac
  done </etc/os-release
fi
if has systemd-detect-virt; then
  echo "container=$(systemd-detect-virt --container 2>/dev/null)"
elif [ -e /.dockerenv ] || [ -e /run/.containerenv ] || [ -e /run/systemd/container ]; then
  echo "container=yes"
fi
while read -r key value _; do
  case $key in MemTotal: | MemAvailable:) echo "memory/${key%:}=$value" ;; esac
done </proc/meminfo
for program in tar cpio curl wget ip; do
  if has $program; then echo "program=$program"; fi
done
if has setsid && setsid --wait true 2>/dev/null; then echo "program=setsid"; fi
# A kernel without kexec has no such file.
put kexec_load_disabled /proc/sys/kernel/kexec_load_disabled
put lockdown /sys/kernel/security/lockdown
if [ -d /sys/firmware/efi ]; then
  echo "firmware=uefi"
  secure=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  if [ -r $secure ] && has od; then
    # Four bytes of attributes come first.
    echo "secure_boot=$(od -An -tu1 -j4 -N1 $secure 2>/dev/null | tr -d ' ')"
  fi
else
  echo "firmware=bios"
fi

printf '%s\n' "$disks" | while read -r disk; do
  if [ -b "$disk" ]; then
    echo "wanted=$disk $(readlink -f "$disk")"
  elif [ -e "$disk" ]; then
    echo "wanted=$disk -"
  fi
done
count=0
for block in /sys/class/block/*; do
  name=${block##*/}
  case $name in loop* | ram* | zram* | sr[0-9]* | fd[0-9]* | nbd*) continue ;; esac
  if [ ! -e "$block/size" ]; then continue; fi
  count=$((count + 1))
  if [ $count -gt 256 ]; then break; fi
  put "block/$name/size" "$block/size"
  if [ -e "$block/partition" ]; then
    whole=$(readlink -f "$block")
    whole=${whole%/*}
    echo "block/$name/partition_of=${whole##*/}"
  fi
  put "block/$name/read_only" "$block/ro"
  put "block/$name/mapper" "$block/dm/name"
  put "block/$name/mapper_uuid" "$block/dm/uuid"
  put "block/$name/raid" "$block/md/level"
  for below in "$block"/slaves/*; do
    if [ -e "$below" ]; then echo "block/$name/on=${below##*/}"; fi
  done
  # The kernel modules of the disk's controller and its buses.
  device=$(readlink -f "$block/device" 2>/dev/null)
  while [ -n "$device" ] && [ "$device" != /sys/devices ] && [ "$device" != / ]; do
    module=$(readlink -f "$device/driver/module" 2>/dev/null)
    if [ -n "$module" ] && [ -d "$module" ]; then echo "block/$name/module=${module##*/}"; fi
    device=${device%/*}
  done
  put "block/$name/model" "$block/device/model"
  put "block/$name/serial" "$block/device/serial"
done
if has lsblk; then
  # Columns that its release does not have make it fail.
  lsblk -P -o KNAME,FSTYPE,LABEL 2>/dev/null | head -n 512 | while read -r line; do echo "lsblk=$line"; done
  lsblk -d -P -o KNAME,MODEL,SERIAL 2>/dev/null | head -n 512 | while read -r line; do echo "lsblk=$line"; done
fi
# File systems on devices: device numbers, mount point, type, source.
while read -r _ _ number _ point rest; do
  rest=${rest#*- }
  kind=${rest%% *}
  source=${rest#* }
  source=${source%% *}
  case $source in
    /dev/*) echo "mount=$number $point $kind $source" ;;
    *) if [ "$kind" = zfs ]; then echo "mount=$number $point $kind $source"; fi ;;
  esac
done </proc/self/mountinfo | head -n 512
while read -r file _; do
  case $file in /dev/*) echo "swap=$(readlink -f "$file")" ;; esac
done </proc/swaps
if has zpool; then
  name=
  # A pool's devices are not its holders in /sys.
  zpool list -H -v -P -L -o name 2>/dev/null | head -n 256 | while read -r first _; do
    case $first in
      /dev/*) echo "pool=$name $(readlink -f "$first")" ;;
      *)
        case $first in mirror* | raidz* | draid* | logs | cache | spares | special | dedup | "") ;; *) name=$first ;; esac
        ;;
    esac
  done
fi
for path in /dev/disk/by-id/*; do
  if [ -e "$path" ]; then
    case $path in *-part[0-9]*) ;; *) echo "id=$(readlink -f "$path") $path" ;; esac
  fi
done | head -n 256
for device in /sys/class/net/*; do
  name=${device##*/}
  driver=$(readlink -f "$device/device/driver/module" 2>/dev/null)
  if [ -n "$driver" ] && [ -d "$driver" ]; then echo "nic/$name/module=${driver##*/}"; fi
done
if has ip; then
  ip -o addr show scope global 2>/dev/null | head -n 256 | while read -r line; do echo "address=$line"; done
  ip -4 route show default 2>/dev/null | head -n 16 | while read -r line; do echo "route4=$line"; done
  ip -6 route show default 2>/dev/null | head -n 16 | while read -r line; do echo "route6=$line"; done
fi
echo "end=yes"
