# Runs on the host in a transient unit, so that it outlives the connection that started it. Any end but the last line
# leaves the old system running, and the old system is what boots until then: a reset at any moment ends on a whole one.
# Set before these lines: new, old (may be empty), before (the profile's system, may be empty), directory,
# activation_bound and confirm_bound in seconds, gates (yes or no), and what holds.sh says: the lock that this activation was
# started under. `$gone` is what that says of a lock that is gone.
set -u
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH:$new/sw/bin
profile=/nix/var/nix/profiles/system
kept=/var/lib/machinist

# What outlives a reset: the last activation and how it ended, so that anyone can tell later what this host went through.
keep() {
  printf 'run=%s\nfence=%s\nboot=%s\nnew=%s\nold=%s\nbefore=%s\nstate=%s\n' "$run" "$fence" \
    "$(cat /proc/sys/kernel/random/boot_id)" "$new" "$old" "$before" "$*" >"$kept/activation.new"
  sync "$kept/activation.new" && mv -f "$kept/activation.new" "$kept/activation"
}
say() {
  printf '%s\n' "$*" >"$directory/state.new" && mv -f "$directory/state.new" "$directory/state"
}
failed_units() {
  systemctl list-units --failed --plain --no-legend --no-pager | cut -d' ' -f1 | sort
}
# A service whose reload failed goes on as before, and is in no list of failed units. A line each: unit, when.
failed_reloads() {
  systemctl show --property=Id,ReloadResult,ExecReload '*.service' 2>/dev/null | awk '
    function told() { if (unit != "" && result != "" && result != "success") print unit, when }
    $0 == "" { told(); unit = result = when = "" }
    /^Id=/ { unit = substr($0, 4) }
    /^ReloadResult=/ { result = substr($0, 14) }
    match($0, /start_time=\[[^]]*\]/) { when = when substr($0, RSTART + 11, RLENGTH - 11) }
    END { told() }' | sort
}
# Keeps what the units said last: going back makes them say more.
last_words() {
  journalctl --sync 2>/dev/null
  for unit in "$@"; do
    journalctl --unit="$unit" --lines=8 --output=cat --no-pager | sed "s|^|  $unit: |"
  done >"$directory/words" 2>/dev/null
}
# Seconds since boot: the wall clock may jump.
uptime_seconds() {
  read -r since _ </proc/uptime
  echo "${since%%.*}"
}
revert() {
  if [ -z "$old" ]; then
    keep "failed $1"
    say "failed $1"
    exit 1
  fi
  say "reverting $1"
  timeout -k 5 "$activation_bound" "$old/bin/switch-to-configuration" test 9>&-
  case $? in
    0 | 4) end="reverted $1" ;;
    *) end="broken $1, and the old system could not be activated again" ;;
  esac
  keep "$end"
  say "$end"
  exit 1
}

if ! holds; then
  say "refused $gone"
  exit 1
fi
if [ -e "$directory/abort" ]; then
  say "reverted $(cat "$directory/abort") before it began"
  exit 1
fi
failed_units >"$directory/failed.before"
failed_reloads >"$directory/unreloaded.before"
keep "activating"
say "activating"
timeout -k 5 "$activation_bound" "$new/bin/switch-to-configuration" test
code=$?
failed_units >"$directory/failed.after"
failed_reloads >"$directory/unreloaded.after"
newly_failed=$(comm -13 "$directory/failed.before" "$directory/failed.after" | tr '\n' ' ')
not_reloaded=$(comm -13 "$directory/unreloaded.before" "$directory/unreloaded.after" | cut -d' ' -f1 | tr '\n' ' ')
case $code in
  0 | 4) ;;
  124 | 137) revert "the activation took longer than $activation_bound s" ;;
  *) revert "switch-to-configuration ended with status $code" ;;
esac
# shellcheck disable=SC2086
last_words $newly_failed $not_reloaded
if [ -n "$newly_failed" ]; then
  revert "units failed: $newly_failed"
fi
if [ -n "$not_reloaded" ]; then
  revert "units could not be reloaded: $not_reloaded"
fi

# The new system's own gates, a line each: name, seconds, script. All of them together may take as long as the activation.
latest=$(($(uptime_seconds) + activation_bound))
if [ "$gates" = yes ] && [ -e "$new/etc/machinist/gates" ]; then
  while read -r gate seconds script; do
    say "gate $gate"
    closes=$(($(uptime_seconds) + seconds))
    if [ "$closes" -gt "$latest" ]; then closes=$latest; fi
    while :; do
      left=$((closes - $(uptime_seconds)))
      if [ "$left" -lt 1 ]; then left=1; fi
      timeout -k 2 "$left" "$script" >"$directory/gate" 2>&1 </dev/null
      code=$?
      if [ "$code" -eq 0 ]; then break; fi
      if [ -e "$directory/abort" ]; then revert "$(cat "$directory/abort")"; fi
      if ! belongs; then revert "$gone"; fi
      if [ "$(uptime_seconds)" -ge "$closes" ]; then
        why=$(grep . "$directory/gate" | tail -n 1 | cut -c 1-300)
        if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then why="it does not answer"; fi
        revert "the gate $gate stayed closed for $seconds s: ${why:-it ended with status $code}"
      fi
      sleep 1
    done
  done <"$new/etc/machinist/gates"
fi

say "waiting"
deadline=$(($(uptime_seconds) + confirm_bound))
while ! [ -e "$directory/confirm" ]; do
  if [ -e "$directory/abort" ]; then
    revert "$(cat "$directory/abort")"
  fi
  if ! belongs; then
    revert "$gone"
  fi
  if [ "$(uptime_seconds)" -ge "$deadline" ]; then
    revert "no confirmation came over a fresh connection within $confirm_bound s"
  fi
  sleep 0.05
done

# From here to the end nobody takes the lock over.
exec 9>"$lock.guard"
if ! flock -w 30 9 || ! belongs; then
  revert "$gone"
fi
if ! nix-env --profile "$profile" --set "$new" 9>&-; then
  revert "the profile could not be set"
fi
if ! "$new/bin/switch-to-configuration" boot 9>&-; then
  if [ -n "$before" ]; then nix-env --profile "$profile" --set "$before" 9>&-; fi
  revert "the boot loader could not be installed"
fi
printf '%s\n' "$new" >"$kept/confirmed.new" && sync "$kept/confirmed.new" && mv -f "$kept/confirmed.new" "$kept/confirmed"
keep "confirmed"
say "confirmed"
