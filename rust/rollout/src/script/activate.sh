# Runs on the host in a transient unit, so that it outlives the connection that started it. Any exit before the last
# line leaves the old system running, and the old system boots until then: a reset at any moment ends with a consistent
# one. Set before these lines: new, old (may be empty), before (the profile's system, may be empty), directory,
# activation_bound and confirm_bound in seconds, gates (yes or no), trial (yes if the new system was booted once by
# boot-once.sh and runs already: the way back is a reboot, since the old one is still the default) and unwell_before (units
# that were unhealthy before that boot), and the variables of holds.sh: the lock under which this activation was started.
# `$gone` is its message about a lost lock.
set -u
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH:$new/sw/bin
profile=/nix/var/nix/profiles/system
kept=/var/lib/machinist
unbootable=''
# The state in the record until the end is known. A trial remains one, whatever happens to this process.
begun=activating
if [ "$trial" = yes ]; then begun=booting; fi

# Record that survives a reset: the last activation and its result, so that the history of this host can be read later.
record() {
  printf 'run=%s\nfence=%s\nboot=%s\nnew=%s\nold=%s\nbefore=%s\nstate=%s\n' "$run" "$fence" \
    "$(cat /proc/sys/kernel/random/boot_id)" "$new" "$old" "$before" "$*"
}
keep() {
  write_durably "$kept/activation" "$(record "$*")"
}
# A confirmation needs no more disk space: its record is on the disk before anything is changed.
prepare() {
  write_durably "$kept/activation.confirmed" "$(record confirmed)" &&
    write_durably "$kept/confirmed.next" "$new" &&
    keep "$begun" && say activating
}
say() {
  printf '%s\n' "$*" >"$directory/state.new" && mv -f "$directory/state.new" "$directory/state"
}
# one_line LIST: its lines, joined by spaces.
one_line() {
  printf '%s\n' "$1" | tr '\n' ' '
}
# Keeps the units' last log lines: reverting makes them log more.
last_words() {
  journalctl --sync 2>/dev/null
  for unit in $1; do
    journalctl --unit="$unit" --lines=8 --output=cat --no-pager | sed "s|^|  $unit: |"
  done >"$directory/words" 2>/dev/null
}
revert() {
  if [ "$trial" = yes ]; then reboot_back "$1"; fi
  if [ -z "$old" ]; then
    keep "failed $1$unbootable"
    say "failed $1$unbootable"
    exit 1
  fi
  say "reverting $1"
  timeout -k 5 "$activation_bound" "$old/bin/switch-to-configuration" test 9>&-
  code=$?
  if [ "$code" -ne 0 ] && [ "$code" -ne 4 ]; then
    end="broken $1, and the old system could not be activated again (status $code)$unbootable"
  elif [ -n "$unbootable" ]; then
    end="broken $1$unbootable"
  else
    end="reverted $1"
  fi
  keep "$end" || end="$end; it could not be recorded"
  say "$end"
  exit 1
}
# Leaves a system on trial for the default, the old one.
reboot_back() {
  say "reverting $1"
  # The next boot clears the directory.
  cp "$directory/words" "$kept/activation.words" 2>/dev/null || rm -f "$kept/activation.words"
  if [ -n "$unbootable" ]; then
    end="broken $1$unbootable"
  elif keep "reverted $1" && systemctl reboot 9>&-; then
    exit 1
  else
    end="broken $1, and it could not be rebooted into the old system"
  fi
  keep "$end"
  say "$end"
  exit 1
}
# Ends an activation that has changed nothing, because the new system's program refused to begin.
refuse_to_begin() {
  grep . "$directory/switch" | tail -n 8 | sed 's/^/  activation: /' >"$directory/words"
  end="reverted nothing was changed: $1"
  keep "$end" || end="$end; it could not be recorded"
  say "$end"
  exit 1
}
# Waits until the boot has finished.
finish_boot() {
  booted_by=$(($(uptime_seconds) + activation_bound))
  while :; do
    state=$(systemctl is-system-running 2>/dev/null)
    case $state in
      running | degraded) return ;;
      maintenance) revert "it is in rescue or emergency mode" ;;
    esac
    if [ -e "$directory/abort" ]; then revert "$(cat "$directory/abort")"; fi
    if [ "$(uptime_seconds)" -ge "$booted_by" ]; then
      jobs=$(systemctl list-jobs --plain --no-legend --no-pager 2>/dev/null | awk '{ print $2 }' | head -n 5)
      revert "its boot is not over: systemd is ${state:-unknown}, it waits for $(one_line "$jobs")"
    fi
    sleep 0.2
  done
}
revert_for() {
  last_words "$2"
  revert "$1: $(one_line "$2")"
}
# Units that switch-to-configuration names: as failed, or because one of their jobs failed.
named_units() {
  sed -nE -e 's/^warning: the following units failed: //p' \
    -e 's/^Failed to (start|restart|reload|stop) ([^ :]+\.[a-z]+)(:.*)?$/\2/p' \
    -e 's/^(Job|A dependency job) for ([^ ]+\.[a-z]+) (failed|timed out|canceled).*/\2/p' "$directory/switch" |
    tr -s ', ' '\n' | grep . | sort -u
}
# Filters units down to those that neither run nor are starting: systemd does not retry these.
ended() {
  for unit in $1; do
    case $(systemctl show --property=ActiveState --value -- "$unit") in
      active | reloading | refreshing | activating) ;;
      *) echo "$unit" ;;
    esac
  done
}

if ! holds; then
  say "refused $gone"
  exit 1
fi
if [ -e "$directory/abort" ]; then
  say "reverted $(cat "$directory/abort") before it began"
  exit 1
fi
if ! why=$(prepare 2>&1); then
  why="reverted nothing was changed: $(printf '%s\n' "$why" | tail -n 1)"
  keep "$why"
  say "$why"
  exit 1
fi
if [ "$trial" = yes ]; then
  : >"$directory/switch"
  services_before='' unwell=$unwell_before code=0
  finish_boot
else
  failed_before=$(failed_units) && services_before=$(services) || revert "systemd does not answer"
  unwell=$(printf '%s\n' "$failed_before" && lines unsteady "$services_before")
  timeout -k 5 "$activation_bound" "$new/bin/switch-to-configuration" test >"$directory/switch" 2>&1
  code=$?
  cat "$directory/switch"
fi
# Status 4 is also returned if a unit had failed before: the list of units decides.
case $code in
  0 | 4) ;;
  100) refuse_to_begin "its init interface differs, so that only a boot can bring it" ;;
  1)
    if grep -qx 'Pre-switch checks failed' "$directory/switch"; then
      check=$(sed -n "s/^Pre-switch check '\(.*\)' failed\$/\1/p" "$directory/switch" | head -n 1 | cut -c 1-80)
      refuse_to_begin "its own pre-switch check${check:+ $check} refuses a switch"
    fi
    revert "switch-to-configuration ended with status 1"
    ;;
  124 | 137) revert "the activation took longer than $activation_bound s" ;;
  *) revert "switch-to-configuration ended with status $code" ;;
esac
if grep -qx 'Failed to run activate script' "$directory/switch"; then
  revert "the activation script failed"
fi
failed_after=$(failed_units) && services_after=$(services) || revert "systemd does not answer"
named=$(without "$(named_units)" "$unwell")
failed=$(without "$(printf '%s\n' "$failed_after" && ended "$named")" "$unwell")
not_reloaded=$(without "$(printf '%s\n' "$services_after" | grep '^unreloaded ')" \
  "$(printf '%s\n' "$services_before" | grep '^unreloaded ')" | cut -d' ' -f2)
if [ -n "$failed" ]; then revert_for "units failed" "$failed"; fi
if [ -n "$not_reloaded" ]; then revert_for "units could not be reloaded" "$not_reloaded"; fi
# If no service was started, services are only watched while something else is in progress; those that have already
# failed once are watched for longer.
started=$(without "$(printf '%s\n' "$services_after" | grep '^began ')" \
  "$(printf '%s\n' "$services_before" | grep '^began ')" | cut -d' ' -f2)
crashed=$(printf '%s\n' "$services_after" | awk '$1 == "restarts" && $3 > 0 { print $2 }' | grep -xF -e "$started")
crashed=$(without "$crashed" "$unwell")
if [ -n "$named$crashed" ]; then
  watch_from "$services_after" "$quiet_later"
elif [ -n "$started" ]; then
  watch_from "$services_after" "$quiet_first"
else
  watch_from "$services_after" 0
fi

# The new system's own gates, one a line: name, seconds, script. Together they may take as long as the activation.
latest=$(($(uptime_seconds) + activation_bound))
if [ "$gates" = yes ] && [ -e "$new/etc/machinist/gates" ]; then
  while read -r gate seconds script; do
    say "gate $gate" || revert "$directory/state cannot be written"
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

say "waiting" || revert "$directory/state cannot be written"
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

# The time so far counts: gates and the confirmation have run meanwhile.
while :; do
  watch_round
  case $? in
    0) break ;;
    2) revert_for "services do not stay up" "$restless" ;;
  esac
  if [ -e "$directory/abort" ]; then revert "$(cat "$directory/abort")"; fi
  sleep 1
done
failed_after=$(failed_units) || revert "systemd does not answer"
failed=$(without "$(printf '%s\n' "$failed_after" && ended "$named")" "$unwell")
if [ -n "$failed" ]; then revert_for "units failed" "$failed"; fi

# make_boot SYSTEM: sets the profile and installs the boot loader. Bounded, because the lock's guard is held meanwhile.
make_boot() {
  timeout -k 5 60 nix-env --profile "$profile" --set "$1" 9>&- || { why="the profile could not be set"; return 1; }
  timeout -k 5 "$activation_bound" "$1/bin/switch-to-configuration" boot >"$directory/boot" 2>&1 9>&-
  code=$?
  cat "$directory/boot"
  why="the boot loader could not be installed: $(grep . "$directory/boot" | tail -n 1 | cut -c 1-300)"
  case $code in
    0) return 0 ;;
    124 | 137) why="the boot loader could not be installed within $activation_bound s" ;;
  esac
  return 1
}
# Makes the old system boot again, after parts of the new one may have been installed.
take_back() {
  first=$why
  if [ -z "$before" ]; then
    # Nothing was installed before: remove the profile, so that it has no system again.
    rm -f "${profile%/*}/$(readlink "$profile")" "$profile"
  elif ! make_boot "$before"; then
    unbootable="; what boots next is uncertain, because the old system could not be made the one that boots: $why"
  fi
  revert "$first"
}

# From here to the end no other run can take over the lock.
exec 9>"$lock.guard"
if ! flock -w 30 9 || ! belongs; then
  revert "$gone"
fi
make_boot "$new" || take_back
was=$(cat "$kept/confirmed" 2>/dev/null)
if ! place_durably "$kept/confirmed.next" "$kept/confirmed"; then
  if [ -n "$was" ]; then write_durably "$kept/confirmed" "$was"; else rm -f "$kept/confirmed"; fi
  why="the confirmation could not be recorded"
  take_back
fi
# If this fails, the earlier record says `activating` of a system that is confirmed: readers accept that combination.
place_durably "$kept/activation.confirmed" "$kept/activation"
say "confirmed"
