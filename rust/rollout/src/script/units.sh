# Prints the inputs of a plan: the units of the running system, its boot files, its closure. Changes nothing, writes no
# file. Standard input: a line for each unit file of the new system, `<sha256>  ./<path>`; those are not sent back.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
export LC_ALL=C
known=$(cat)
current=$(readlink -f /run/current-system)

echo "== active"
# The status is checked before the output is printed: a systemd that does not respond must not look like one without
# units.
active=$(systemctl show --property=Id,ActiveState,FragmentPath,Following '*') || exit 1
printf '%s\n' "$active"
echo "== machine"
printf '%s\n' "$active" | sed -n 's#^FragmentPath=\(/usr/lib/systemd/system/.*\)#\1#p; s#^FragmentPath=\(/lib/systemd/system/.*\)#\1#p' |
  sort -u | tr '\n' '\0' | xargs -0r grep --null -H ''
for list in start restart reload; do
  if [ -e "/run/nixos/$list-list" ]; then
    echo "== $list-list"
    cat "/run/nixos/$list-list"
  fi
done

for system in booted current; do
  echo "== $system"
  for link in kernel initrd kernel-modules; do
    if [ -e "/run/$system-system/$link" ]; then echo "$link=$(readlink -f "/run/$system-system/$link")"; fi
  done
  if [ -e "/run/$system-system/initrd" ]; then
    # Before the init that is a script, a script ran in the initrd, too.
    case $(head -c 2 "/run/$system-system/init" 2>/dev/null | tr -d '\000') in
      '#!') echo stage-1=scripted ;;
      ?*) echo stage-1=systemd ;;
    esac
  fi
  if [ -e "/run/$system-system/kernel-params" ]; then echo "kernel-params=$(cat "/run/$system-system/kernel-params")"; fi
done
echo "systemd=$(readlink -f "$current/systemd")"
if [ -e "$current/etc/systemd/system.conf" ]; then
  echo "system.conf=$(sha256sum <"$current/etc/systemd/system.conf" | cut -d' ' -f1)"
fi
echo "== fstab"
if [ -e "$current/etc/fstab" ]; then cat "$current/etc/fstab"; fi
echo "== closure"
closure=$(nix-store --query --requisites "$current") || exit 1
printf '%s\n' "$closure"
echo "== sizes"
# In the order of the paths. Without them a plan has no sizes, but is as good otherwise.
printf '%s\n' "$closure" | xargs nix-store --query --size

if cd -P "$current/etc/systemd/system" 2>/dev/null; then
  echo "== masked"
  find . -type l -lname /dev/null -printf '%P\n'
  echo "== aliases"
  find . -maxdepth 1 -type l ! -lname '/*' -printf '%P\t%l\n'
  echo "== links"
  find . -mindepth 2 \( -path './*.wants/*' -o -path './*.requires/*' -o -path './*.upholds/*' \) -printf '%P\n'
  echo "== files"
  # -z, because names of units often hold backslashes, which sha256sum would escape.
  files=$(find . \( -type f -o -type l -lname '/nix/store/*' -xtype f \) ! -path './*.wants/*' ! -path './*.requires/*' \
    ! -path './*.upholds/*' -print0 | sort -z | xargs -0r sha256sum -z | tr '\0' '\n')
  printf '%s\n' "$files"
  echo "== texts"
  { printf '%s\n\n' "$known"; printf '%s\n' "$files"; } |
    awk '$0 == "" { second = 1; next } !second { known[$0] = 1; next } !($0 in known) { print substr($0, 67) }' |
    tr '\n' '\0' | xargs -0r grep --null -H ''
fi
echo "== end"
