# Deletes system generations, writes the boot loader's menu without them, and collects garbage. No entry of a menu is
# left without its system: a deleted generation stays a root of the collector until the menu is written, and is restored
# if that fails. What a cut-off run has left is finished by the next one. Set before these lines: current (the system of
# the profile), delete (a line `NUMBER PATH` for each), keep (store paths), boot_at (the mount of kernels, or empty),
# activation_bound in seconds, and the variables of holds.sh.
set -u
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
profile=/nix/var/nix/profiles/system
roots=/nix/var/nix/gcroots/machinist-gc
fail() {
  echo "$1" >&2
  exit 1
}
last_line() {
  printf '%s\n' "$1" | grep . | tail -n 1 | cut -c 1-300
}
boot_free() {
  if [ -n "$boot_at" ]; then df -B1 --output=avail "$boot_at" 2>/dev/null | tail -n 1 | tr -d ' '; fi
}

# No other run can take over the lock while generations and the menu change.
exec 9>"$lock.guard"
flock -w 30 9 && holds || fail "$gone"
[ "$(readlink -f "$profile")" = "$current" ] || fail "the system that boots has changed meanwhile"
find_loader
case $loader in
  systemd-boot | GRUB)
    boots_by_default "$current" || fail "its boot loader ($loader) boots another system by default than that of the profile: collecting would change it"
    ;;
esac

mkdir -p "$roots" || fail "$roots could not be created"
rm -f "$roots"/keep-*
root() {
  ln -sfn "$1" "$roots/$2-${1##*/}" || fail "$roots could not be written"
}
running=$(readlink -f /run/current-system)
booted=$(readlink -f /run/booted-system)
for path in $keep "$running" "$booted" "$current"; do
  if [ -e "$path" ]; then root "$path" keep; fi
done
printf '%s\n' "$delete" | while read -r number path; do
  [ -n "$number" ] || continue
  link=$profile-$number-link
  [ "$(readlink -f "$link")" = "$path" ] || fail "generation $number has changed meanwhile"
  for protected in $keep "$running" "$booted" "$current"; do
    [ "$path" != "$protected" ] || fail "generation $number is in use"
  done
done || exit 1
printf '%s\n' "$delete" | while read -r number path; do
  [ -n "$number" ] || continue
  # The root first: between the two the system has both.
  ln -sfn "$path" "$roots/old-$number" && rm "$profile-$number-link" || exit 1
done || fail "the generations could not be deleted"

before=$(boot_free)
restore() {
  for old in "$roots"/old-*; do
    [ -L "$old" ] || continue
    link=$profile-${old##*/old-}-link
    [ -e "$link" ] || ln -s "$(readlink "$old")" "$link"
    rm "$old"
  done
  rm -rf "$roots"
  fail "$1"
}
if [ -n "$(ls "$roots" | grep '^old-')" ]; then
  said=$(NIXOS_NO_CHECK=1 timeout -k 5 "$activation_bound" "$current/bin/switch-to-configuration" boot 2>&1 9>&-) ||
    restore "the boot loader's menu could not be written without them, so they were restored: $(last_line "$said")"
  case $loader in
    systemd-boot | GRUB)
      boots_by_default "$current" || restore "its boot loader ($loader) would boot another system by default, so the generations were restored"
      ;;
  esac
fi
after=$(boot_free)
rm -f "$roots"/old-*
exec 9>&-

# Under the lock, but not under its guard: renewals take that.
printed=$(mktemp) || fail "no temporary file could be created"
nix-store --gc >"$printed" 2>&1 &
collector=$!
while kill -0 "$collector" 2>/dev/null; do
  if ! belongs; then
    kill "$collector"
    wait "$collector"
    fail "$gone"
  fi
  sleep 0.2
done
wait "$collector"
status=$?
said=$(tail -n 5 "$printed")
rm -f "$printed"
rm -rf "$roots"
[ "$status" = 0 ] || fail "nix-store --gc exited with status $status: $(last_line "$said")"
echo "collected=$(last_line "$said")"
if [ -n "$before" ] && [ -n "$after" ]; then echo "boot=$((after - before))"; fi
