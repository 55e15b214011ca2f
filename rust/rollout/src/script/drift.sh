# Prints the differences from the active system: unit files and files of /etc that do not belong to it, and the booted
# files. Changes nothing.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
export LC_ALL=C
current=$(readlink -f /run/current-system)

# If the directory itself links into the store, all files in it belong to a system; the check below shows to which one.
echo "== units"
for directory in /etc/systemd/system /etc/systemd/system.control /run/systemd/system /run/systemd/system.control; do
  case $(readlink -f "$directory") in
    /nix/store/*) ;;
    *)
      if [ -d "$directory" ]; then
        find "$directory/" \( -type f -o -type l \) -printf '%P\n' | while IFS= read -r file; do
          own=$current/etc/systemd/system/$file
          if [ "$directory/$file" -ef "$own" ]; then continue; fi
          link=$(readlink "$directory/$file")
          # A link to a unit of the underlying distribution may not resolve from here.
          if [ -z "$link" ] || [ "$link" != "$(readlink "$own")" ]; then printf '%s\t%s\n' "$directory/$file" "$link"; fi
        done
      fi
      ;;
  esac
done

# Files that the activation copies, because they have their own owner or mode, are not compared: programs may write
# them. If /etc is a separate mount, inodes cannot identify the system's files.
echo "== etc"
if cd -P "$current/etc" 2>/dev/null && ! mountpoint -q /etc; then
  find . \( -type f -o -type l \) ! -name '*.mode' ! -name '*.uid' ! -name '*.gid' | while IFS= read -r file; do
    if [ -e "$file" ] && ! [ -e "$file.mode" ] && ! [ "/etc/$file" -ef "$file" ]; then echo "${file#./}"; fi
  done
fi

for system in booted current; do
  echo "== $system"
  for link in kernel initrd kernel-modules; do
    if [ -e "/run/$system-system/$link" ]; then echo "$link=$(readlink -f "/run/$system-system/$link")"; fi
  done
  if [ -e "/run/$system-system/kernel-params" ]; then echo "kernel-params=$(cat "/run/$system-system/kernel-params")"; fi
done
echo "== end"
