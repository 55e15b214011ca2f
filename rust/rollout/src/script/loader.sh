# Functions for the boot loader of this host: which one it is, what it boots by default, and how it boots an entry of its
# menu once. They change nothing, except for arm and disarm.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
grub=/boot/grub
variables=/sys/firmware/efi/efivars

# Sets loader, the name, and once: empty if it can boot an entry once, or the reason why it cannot. The default must be a
# known entry: a menu that boots its newest entry would make a new system the default.
find_loader() {
  loader='' once=''
  if esp=$(bootctl --print-esp-path 2>/dev/null) && [ -n "$esp" ]; then
    menu=$(bootctl --print-boot-path 2>/dev/null) || menu=$esp
    if LC_ALL=C bootctl status 2>/dev/null | sed -n '/^Current Boot Loader:/,/^$/p' | grep -q 'Product: systemd-boot'; then
      loader=systemd-boot
    fi
  fi
  if [ -z "$loader" ] && [ -f "$grub/grub.cfg" ]; then
    loader=GRUB
    if ! command -v grub-editenv >/dev/null; then
      once="grub-editenv is not installed"
    else
      once=$(refuse_grub_disk)
    fi
  fi
  if [ -z "$loader" ]; then
    loader=unknown once="it is neither systemd-boot nor GRUB"
    for other in extlinux limine refind; do
      if [ -e "/boot/$other" ] || [ -e "/boot/EFI/$other" ]; then loader=$other once="it has no entry that is booted once"; fi
    done
    if [ -e /run/systemd/container ]; then loader=none once="a container's host decides what it boots"; fi
  fi
}
# GRUB clears the one-time entry itself, before it boots it. On a disk that it cannot write, that entry would be booted
# again and again.
refuse_grub_disk() {
  disk=$(findmnt --noheadings --output FSTYPE,SOURCE --target "$grub" 2>/dev/null)
  case $disk in
    ext[234]\ * | vfat\ * | xfs\ *) ;;
    *) echo "GRUB cannot write to the file system of $grub (${disk:-unknown}), so it would boot the entry again and again" ;;
  esac
  case $disk in
    */dev/mapper/* | */dev/dm-* | */dev/md*)
      echo "GRUB cannot write to the disk of $grub (${disk##* }), so it would boot the entry again and again"
      ;;
  esac
}

# boots_by_default SYSTEM: true if that is what the boot loader boots by default.
boots_by_default() {
  case $loader in
    systemd-boot) entry_boots "$(default_entry)" "$1" ;;
    GRUB) [ "$(grub_default)" = "$1/init" ] ;;
    *) return 1 ;;
  esac
}
# entry_of SYSTEM: prints the name of a menu entry that boots it.
entry_of() {
  case $loader in
    systemd-boot)
      for file in "$menu"/loader/entries/*.conf "$esp"/loader/entries/*.conf; do
        if file_boots "$file" "$1"; then
          id=${file##*/}
          # The number of tries left is not part of an entry's name.
          case $id in *+*.conf) id=${id%%+*}.conf ;; esac
          echo "$id"
          return 0
        fi
      done
      return 1
      ;;
    GRUB) grub_entries | awk -F '\t' -v init="$1/init" '$2 == init && !found { print $1; found = 1 } END { exit !found }' ;;
  esac
}
# arm ENTRY: the next boot, and only that one, boots this entry.
arm() {
  case $loader in
    systemd-boot) bootctl set-oneshot "$1" ;;
    GRUB) grub-editenv "$grub/grubenv" set "next_entry=$1" && sync -f "$grub/grubenv" ;;
  esac
}
# The next boot is the default again.
disarm() {
  case $loader in
    systemd-boot) bootctl set-oneshot '' ;;
    GRUB) grub-editenv "$grub/grubenv" unset next_entry && sync -f "$grub/grubenv" ;;
  esac
}

# The variable that `bootctl set-default` sets precedes the file.
default_entry() {
  entry=$(tr -d '\000-\037' 2>/dev/null <"$variables/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
  if [ -n "$entry" ]; then
    echo "$entry"
  else
    awk '$1 == "preferred" { preferred = $2 } $1 == "default" { default_ = $2 }
      END { print preferred != "" ? preferred : default_ }' "$esp/loader/loader.conf" 2>/dev/null
  fi
}
# entry_boots ENTRY SYSTEM: its file may have a counter of tries in its name.
entry_boots() {
  [ -n "$1" ] || return 1
  for file in "$menu/loader/entries/$1" "$menu/loader/entries/${1%.conf}+"*.conf "$esp/loader/entries/$1"; do
    if file_boots "$file" "$2"; then return 0; fi
  done
  return 1
}
file_boots() {
  [ -f "$1" ] || return 1
  while read -r key words; do
    if [ "$key" = options ]; then
      case " $words " in *" init=$2/init "*) return 0 ;; esac
    fi
  done <"$1"
  return 1
}

# Entries of GRUB's menu, one a line: the titles that lead to it, joined as grub-reboot(8) expects them, a tab, its init.
grub_entries() {
  awk '
    function title(line) {
      sub(/^[^"]*"/, "", line)
      sub(/".*$/, "", line)
      gsub(/>/, ">>", line)
      return line
    }
    /[{][ \t]*$/ {
      kind[++depth] = $1
      name[depth] = title($0)
      if ($1 == "menuentry") {
        path = init = ""
        for (level = 1; level <= depth; level++)
          if (kind[level] == "submenu" || kind[level] == "menuentry") path = path (path == "" ? "" : ">") name[level]
      }
      next
    }
    /^[ \t]*[}][ \t]*$/ {
      if (kind[depth] == "menuentry") print path "\t" init
      if (depth > 0) depth--
      next
    }
    { for (word = 1; word <= NF; word++) if ($word ~ /^init=/) init = substr($word, 6) }
  ' "$grub/grub.cfg"
}
# Prints the init of the entry that GRUB boots by default: the first of its menu, or the saved one.
grub_default() {
  chosen=$(awk '$1 == "set" && $2 ~ /^default=/ { value = substr($0, index($0, "default=") + 8) } END { print value }' "$grub/grub.cfg")
  chosen=${chosen#\"}
  chosen=${chosen%\"}
  # shellcheck disable=SC2016 # The text of the file is meant, not a variable.
  if [ "$chosen" = '${saved_entry}' ]; then chosen=$(grub-editenv "$grub/grubenv" list 2>/dev/null | sed -n 's/^saved_entry=//p'); fi
  grub_entries | awk -F '\t' -v chosen="$chosen" '(chosen == "" || chosen == "0" ? NR == 1 : $1 == chosen) { print $2; exit }'
}
