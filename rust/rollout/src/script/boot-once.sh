# Installs a system for the next boot only. The default of the boot loader and the profile stay as they are, so that any
# later boot is the old system again. Set before these lines: new, old (the running system), before (the system of the
# profile), activation_bound in seconds, and the variables of holds.sh.
set -u
profile=/nix/var/nix/profiles/system
kept=/var/lib/machinist
fail() {
  echo "$1" >&2
  exit 1
}
# last_line TEXT
last_line() {
  printf '%s\n' "$1" | grep . | tail -n 1 | cut -c 1-300
}

# No other run can take over the lock until this ends.
exec 9>"$lock.guard"
flock -w 30 9 && holds || fail "$gone"
find_loader
[ -z "$once" ] || fail "its boot loader ($loader) cannot boot a system once: $once"
boots_by_default "$before" || fail "its boot loader ($loader) does not boot the system of the profile by default"
# The checks of the new system itself, as `switch-to-configuration boot` will run them.
check=$(sed -n "s/^export PRE_SWITCH_CHECK='\(.*\)'\$/\1/p" "$new/bin/switch-to-configuration" | tail -n 1)
if [ -n "$check" ]; then
  said=$(timeout -k 5 "$activation_bound" "$check" "$new" boot 2>&1 9>&-) || fail "its own pre-switch check refuses it: $(last_line "$said")"
fi

# A generation beside the profile's own: the boot loader's menu has an entry for each.
generation='' last=0
for link in "$profile"-*-link; do
  number=${link#"$profile-"}
  number=${number%-link}
  case $number in '' | *[!0-9]*) continue ;; esac
  if [ "$number" -gt "$last" ]; then last=$number; fi
  if [ "$(readlink "$link")" = "$new" ]; then generation=$link; fi
done
made=''
if [ -z "$generation" ]; then
  made=$profile-$((last + 1))-link
  ln -s "$new" "$made" && sync -f "$made" || fail "the generation $made could not be created"
fi
# The old system writes the menu, with itself as the default. It was checked when it was deployed.
write_menu() {
  menu_said=$(NIXOS_NO_CHECK=1 timeout -k 5 "$activation_bound" "$before/bin/switch-to-configuration" boot 2>&1 9>&-)
}
# undo WHY: removes the generation again, and its entry.
undo() {
  disarm
  if [ -n "$made" ]; then rm -f "$made"; fi
  write_menu || echo "the menu could not be written again: $(last_line "$menu_said")" >&2
  fail "$1"
}
write_menu || undo "the menu of its boot loader ($loader) could not be written: $(last_line "$menu_said")"
boots_by_default "$before" || undo "its boot loader ($loader) would make the new system its default: does its menu keep more than one generation (configurationLimit)?"
entry=$(entry_of "$new") || undo "the menu of its boot loader ($loader) has no entry for the new system"
# The record comes first: a machine that boots the new system by accident is known to be on trial.
record() {
  printf 'run=%s\nfence=%s\nboot=%s\nnew=%s\nold=%s\nbefore=%s\nstate=%s\n' "$run" "$fence" \
    "$(cat /proc/sys/kernel/random/boot_id)" "$new" "$old" "$before" "$*"
}
write_durably "$kept/activation" "$(record booting)" || undo "the trial could not be recorded"
said=$(arm "$entry" 2>&1) || undo "its boot loader ($loader) did not accept the entry $entry: $(last_line "$said")"
echo "loader=$loader"
echo "entry=$entry"
