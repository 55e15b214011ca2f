#!/bin/sh
# install-boot-loader SYSTEM: writes a menu as NixOS' installer for systemd-boot does, an entry for each generation of the
# profile with SYSTEM as the default. The sandbox's first process is the boot loader that reads it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
boot=/boot/loader
profile=/nix/var/nix/profiles/system
mkdir -p "$boot/entries" || exit 1
default='nixos-*' found=''
for link in "$profile"-*-link; do
  [ -e "$link/init" ] || continue
  number=${link#"$profile-"}
  number=${number%-link}
  system=$(readlink -f "$link")
  entry=nixos-generation-$number.conf
  found="$found $entry"
  if [ "$system" = "$1" ]; then default=$entry; fi
  printf 'title NixOS\nversion Generation %s %s\noptions init=%s/init\n' "$number" "$(cat "$system/nixos-version")" "$system" \
    >"$boot/entries/$entry.tmp" && mv -f "$boot/entries/$entry.tmp" "$boot/entries/$entry" || exit 1
done
if [ -z "$found" ]; then
  echo "error: no system generations found in /nix/var/nix/profiles, refusing to remove all boot loader entries" >&2
  exit 1
fi
for file in "$boot"/entries/nixos-*.conf; do
  case " $found " in *" ${file##*/} "*) ;; *) rm -f "$file" ;; esac
done
printf 'timeout 5\ndefault %s\n' "$default" >"$boot/loader.conf.tmp" && sync "$boot/loader.conf.tmp" &&
  mv -f "$boot/loader.conf.tmp" "$boot/loader.conf"
