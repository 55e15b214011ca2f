# Functions that check whether services stay up. Set before they are called: unwell (units that were unhealthy before,
# one a line, which never count).
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
# Seconds without a restart, before and after the first one, and the time limit for a service to become stable.
quiet_first=3
quiet_later=15
settling=60

# Seconds since boot: the wall clock may jump.
uptime_seconds() {
  read -r since _ </proc/uptime
  echo "${since%%.*}"
}
# lines KIND TABLE: the second column of the table's rows of this kind.
lines() {
  printf '%s\n' "$2" | awk -v kind="$1" '$1 == kind { print $2 }'
}
# without LIST LIST: the lines of the first list that the second one does not contain.
without() {
  printf '%s\n' "$1" | grep -vxF -e "$2" | sort -u
}
failed_units() {
  listed=$(systemctl list-units --failed --plain --no-legend --no-pager) || return 1
  printf '%s\n' "$listed" | cut -d' ' -f1
}
# A table of all services:
#   failing UNIT         it failed, and systemd is about to start it again
#   unsteady UNIT        the same, or it was restarted within the last two minutes
#   restarts UNIT N      number of restarts by systemd; left out if it exited successfully and is about to start again
#   began UNIT SECONDS   start time of its process, since boot
#   unreloaded UNIT WHEN its reload failed: it keeps running as before, and no list of failed units has it
services() {
  shown=$(systemctl show '*.service' \
    --property=Id,NRestarts,SubState,Result,ReloadResult,ExecReload,ExecMainStartTimestampMonotonic) || return 1
  printf '%s\n' "$shown" | awk -v now="$(uptime_seconds)" '
    function report() {
      if (unit == "") return
      waits = state ~ /^auto-restart/
      failing = waits && result != "success"
      if (failing) print "failing", unit
      if (failing || (restarts > 0 && now - began < 120)) print "unsteady", unit
      if (!waits || failing) print "restarts", unit, restarts
      print "began", unit, began
      if (reload != "" && reload != "success") print "unreloaded", unit, when
    }
    $0 == "" { report(); unit = state = result = reload = when = ""; restarts = began = 0 }
    /^Id=/ { unit = substr($0, 4) }
    /^NRestarts=/ { restarts = substr($0, 11) + 0 }
    /^SubState=/ { state = substr($0, 10) }
    /^Result=/ { result = substr($0, 8) }
    /^ReloadResult=/ { reload = substr($0, 14) }
    /^ExecMainStartTimestampMonotonic=/ { began = int(substr($0, 33) / 1000000) }
    match($0, /start_time=\[[^]]*\]/) { when = when substr($0, RSTART + 11, RLENGTH - 11) }
    END { report() }'
}
# restarted TABLE TABLE: services that were restarted between the two, or are about to be.
restarted() {
  {
    printf '%s\n' "$1" | sed -n 's/^restarts /first /p'
    printf '%s\n' "$2"
  } | awk '$1 == "first" { first[$2] = $3 } $1 == "restarts" && $2 in first && $3 > first[$2] { print $2 } $1 == "failing" { print $2 }'
}
# watch_from TABLE SECONDS: starts watching with the given current table, for at least as many seconds.
watch_from() {
  last=$1 needed=$2 restless=''
  quiet_since=$(uptime_seconds)
  settled_by=$((quiet_since + settling))
}
# One round of watching. Status 0: services stay up. 1: not known yet. 2: they do not stay up, and `restless` names
# them.
watch_round() {
  table=$(services) || { restless='systemd, which does not answer'; return 2; }
  now=$(uptime_seconds)
  found=$(without "$(restarted "$last" "$table")" "$unwell")
  last=$table
  if [ -n "$found" ]; then
    restless=$found needed=$quiet_later quiet_since=$now
  fi
  if [ $((now - quiet_since)) -ge "$needed" ]; then return 0; fi
  if [ "$now" -ge "$settled_by" ]; then return 2; fi
  return 1
}
