# Decides which member bootstraps the replicated database, and when: only the one with the newest data, and only when every
# member has reported its own. So it is founded once, a member that lost its disk never founds a second one, and after a power
# loss the newest data win. README.md describes its use.
#
#   state              this member's state, for the others: NAME STATE UUID SEQNO
#   decide SELF        SELF's action by the states on standard input: join, found, or `wait REASON`
#   start              before the database starts: waits until it may, and writes its arguments
#   turn               before the database is stopped: waits while another member is starting
#   watch              lets this member bootstrap again if it runs and no member is in a majority
#   without NAME...    stops waiting for these members, which are permanently lost
#   (none)             the states of all members
#
# The module sets DIRECTORY (state until the next boot), MEMBERS (lines `name address`), SELF, PORT and PATIENCE.
set -euo pipefail

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
nobody=00000000-0000-0000-0000-000000000000

query() {
  mariadb --no-defaults --socket="$socket" --connect-timeout=2 --batch --skip-column-names --execute "$1"
}

# Prints the position on the disk, as `UUID SEQNO`. An interrupted transfer counts as empty.
saved() {
  local uuid seqno
  if [ -e "$data/sst_in_progress" ]; then
    echo "empty -1"
  elif [ -e "$data/grastate.dat" ]; then
    uuid=$(sed -n 's/^uuid: *//p' "$data/grastate.dat")
    seqno=$(sed -n 's/^seqno: *//p' "$data/grastate.dat")
    if [ "${uuid:-$nobody}" = $nobody ]; then
      echo "empty -1"
    elif [ "$seqno" = -1 ] && [ -e "$DIRECTORY/recovered" ]; then
      cat "$DIRECTORY/recovered"
    else
      echo "$uuid ${seqno:--1}"
    fi
  elif [ -d "$data/mysql" ] && ! [ -e "$data/mysql_init" ]; then
    # A database that was never replicated.
    echo "own 0"
  else
    echo "empty -1"
  fi
}

# Prints the state of the running database.
running() {
  local all
  all=$(query "SHOW GLOBAL STATUS WHERE Variable_name IN
    ('wsrep_cluster_status', 'wsrep_last_committed', 'wsrep_local_state', 'wsrep_local_state_uuid')" 2>/dev/null) || return 1
  awk '{ is[$1] = $2 }
    END {
      state = is["wsrep_cluster_status"] != "Primary" ? "alone" : is["wsrep_local_state"] == 4 ? "synced" : "joined"
      print state, is["wsrep_local_state_uuid"], is["wsrep_last_committed"]
    }' <<<"$all"
}

state() {
  local active sub now
  active=$(systemctl show --property=ActiveState --value mysql.service)
  sub=$(systemctl show --property=SubState --value mysql.service)
  case $active/$sub in
    deactivating/*)
      now="stopping - -1"
      # Until its turn it still serves, and a starting member may join it.
      if ! [ -e "$DIRECTORY/stopping" ] && [[ "$(running)" =~ ^(synced|joined)\ (.*) ]]; then now="leaving ${BASH_REMATCH[2]}"; fi
      ;;
    activating/start-pre | activating/auto-restart*) now="waiting $(saved)" ;;
    inactive/* | failed/*) now="stopped $(saved)" ;;
    *) now=$(running) || now="starting - -1" ;;
  esac
  # After a crash only the database can determine its position, which happens when it is started.
  case $now in
    waiting*-*-*" -1" | stopped*-*-*" -1") now="unknown - -1" ;;
  esac
  echo "$SELF $now"
}

is_gone() {
  [ -e "$DIRECTORY/without" ] && grep -qxF -- "$1" "$DIRECTORY/without"
}

# Prints the states of all members, one per line, its own included.
states() {
  local name address answer
  while read -r name address <&4; do
    if [ "$name" = "$SELF" ]; then
      state
    else
      case $address in *:*) address=[$address] ;; esac
      answer=$(socat -u -T 3 "TCP:$address:$PORT,connect-timeout=2" - 2>/dev/null </dev/null | head -c 200) || answer=
      case $answer in
        "$name "*)
          # A member that responds is not lost, and counts from now on.
          if is_gone "$name"; then rm -f "$DIRECTORY/without"; fi
          echo "$answer"
          ;;
        *) if is_gone "$name"; then echo "$name gone - -1"; else echo "$name silent - -1"; fi ;;
      esac
    fi
  done 4<"$MEMBERS"
}

# A member in a majority is joined. Otherwise, all must have reported; the newest data win, then a
# running member, then the first by name. A member with data of another history is stopped, because
# joining would delete them.
decide() {
  awk -v self="$1" '
    function better(class, seqno, alone) {
      if (class != bestClass) return class > bestClass
      if (seqno != bestSeqno) return seqno > bestSeqno
      return alone > bestAlone
    }
    BEGIN { bestClass = -1 }
    $1 == self { mine = $3 }
    $2 == "gone" { next }
    $2 ~ /^(synced|joined|leaving)$/ { primary = $1; theirs = $3; next }
    $2 !~ /^(waiting|stopped|alone)$/ { missing = missing " " $1 " (" $2 ")"; next }
    {
      class = $3 == "empty" ? 0 : $3 == "own" ? 1 : 2
      if (class == 2 && history != "" && history != $3) histories = 1
      if (class == 2) history = $3
      if (better(class, $4 + 0, $2 == "alone")) {
        bestClass = class; bestSeqno = $4 + 0; bestAlone = $2 == "alone"; best = $1
      }
    }
    END {
      if (primary == self) print "join"
      else if (primary != "" && mine == "own") print "wait this machine has a separate database, which joining " primary " would delete"
      else if (primary != "" && mine != "empty" && mine != theirs) print "wait this machine has data of another database than " primary ", which joining would delete"
      else if (primary != "") print "join"
      else if (missing != "") print "wait no member may bootstrap before these have reported:" missing
      else if (histories) print "wait members have data of different databases, one of them " history
      else if (best == self) print "found"
      else print "wait " best " has the newest data and must bootstrap"
    }'
}

# Recovers the position of a database that was not shut down cleanly.
recover() {
  local log
  rm -f "$DIRECTORY/recovered"
  [[ "$(saved)" == *-*-*" -1" ]] || return 0
  echo "not shut down cleanly: recovering the position"
  log=$DIRECTORY/recover.log
  rm -f "$log"
  mariadbd --defaults-file=/etc/my.cnf --datadir="$data" --skip-networking --socket="$DIRECTORY/recover.sock" \
    --wsrep-recover --log-error="$log" 2>/dev/null || true
  sed -nE 's/.*WSREP: Recovered position:? *([0-9a-f-]{36}):(-?[0-9]+).*/\1 \2/p' "$log" | tail -n 1 >"$DIRECTORY/recovered.new"
  if grep -q ' [0-9]*$' "$DIRECTORY/recovered.new"; then
    mv "$DIRECTORY/recovered.new" "$DIRECTORY/recovered"
    echo "recovered position $(tr ' ' : <"$DIRECTORY/recovered")"
  else
    tail -n 20 "$log"
    # It receives all data from another member.
    echo "empty -1" >"$DIRECTORY/recovered"
  fi
  rm -f "$log" "$DIRECTORY/recovered.new"
}

# Writes the arguments of its start, for the unit's script.
arguments() {
  local addresses position
  addresses=$(awk '{ print $2 ~ /:/ ? "[" $2 "]" : $2 }' "$MEMBERS" | paste -sd ,)
  set -- "--wsrep-cluster-address=gcomm://$addresses" "$@"
  if [[ "$(saved)" =~ ^([0-9a-f-]{36})\ ([0-9]+)$ ]]; then
    position=${BASH_REMATCH[1]}:${BASH_REMATCH[2]}
    set -- "$@" "--wsrep-start-position=$position"
  fi
  echo "$*" >"$DIRECTORY/arguments"
}

start() {
  local answer said=
  rm -f "$DIRECTORY/stopping"
  # NixOS initialises a database next, and marks it only when that is complete: an interrupted one
  # does not count as this machine's own.
  [ -e "$data/mysql" ] || touch "$data/mysql_init"
  recover
  while :; do
    answer=$(states | decide "$SELF")
    case $answer in
      join)
        echo "joins the others"
        arguments
        return
        ;;
      found)
        echo "bootstraps: all members have reported, and none has newer data"
        [ ! -e "$data/grastate.dat" ] || sed -i 's/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/' "$data/grastate.dat"
        arguments --wsrep-new-cluster
        return
        ;;
    esac
    [ "$answer" = "$said" ] || echo "waits: ${answer#wait }"
    said=$answer
    if [ $SECONDS -ge "$PATIENCE" ]; then
      echo "timed out: ${answer#wait }" >&2
      exit 1
    fi
    sleep 1
  done
}

# Members that should stop at the same time take turns, so that one deploy of all restarts them one
# by one: each announces its stop, and continues when no other has announced one or is starting. The
# first in the list goes first. A member that is stopped for good is not waited for; nor is any
# member when the machine itself shuts down.
turn() {
  local others marked= said=
  rm -f "$DIRECTORY/stopping"
  while [ $SECONDS -lt $((3 * PATIENCE)) ] && [ "$(systemctl is-system-running)" != stopping ]; do
    others=$(states | awk -v self="$SELF" '
      $1 == self { after = 1; next }
      $2 == "stopping" && after { $2 = "stepping-back" }
      $2 ~ /^(waiting|unknown|starting|joined|stopping|stepping-back)$/ || ($2 == "leaving" && !after) { print $1, $2 }')
    if [ -z "$others" ]; then
      # Checks once more after the announcement: a member that checked at the same time sees it now.
      [ -z "$marked" ] || return 0
      marked=1
      touch "$DIRECTORY/stopping"
    elif [ -z "$marked" ] || grep -qv ' stepping-back$' <<<"$others"; then
      marked=
      rm -f "$DIRECTORY/stopping"
    fi
    [ -z "$others" ] || [ "$others" = "$said" ] || echo "stop delayed: waiting for ${others//$'\n'/, }"
    said=$others
    sleep 0.5
  done
  touch "$DIRECTORY/stopping"
}

# So many members stopped at once that the remaining ones have no majority, and none is left to
# join. The remaining ones stop, and the next bootstrap is decided as after a power loss.
watch() {
  local now
  while sleep 5; do
    now=$(running) || continue
    # The exclusion was for this bootstrap only: the next one waits for all again.
    if [[ "$now" == "synced "* ]]; then rm -f "$DIRECTORY/without"; fi
    if [[ "$now" == "alone "* ]] && [ "$(states | decide "$SELF")" = found ]; then
      echo "bootstraps again: all members have reported, and none has newer data"
      kill "$(systemctl show --property=MainPID --value mysql.service)" || true
    fi
  done
}

without() {
  local name all
  all=$(states)
  for name; do
    grep -q "^$name " "$MEMBERS" || { echo "$name is not a member; members: $(cut -d' ' -f1 "$MEMBERS" | paste -sd ' ')" >&2; exit 2; }
    grep -qE "^$name (silent|gone) " <<<"$all" || { echo "$name responds, so it is not lost" >&2; exit 3; }
  done
  printf '%s\n' "$@" >"$DIRECTORY/without"
  echo "until the database runs, $SELF does not wait for: $*"
  all=$(states)
  echo "$all"
  echo "$SELF: $(decide "$SELF" <<<"$all")"
}

case ${1:-states} in
  decide | without) "$@" ;;
  start | state | states | turn | watch) "${1:-states}" ;;
  *) sed -n '5,12s/^# //p' "$0" >&2; exit 2 ;;
esac
