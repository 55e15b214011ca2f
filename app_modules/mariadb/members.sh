# Which member of the replicated database may found it, and when: only the one with the newest data, and only when every member
# has said what it has. So it is founded once, a member that lost its disk founds no second one beside the first, and after
# a power loss the newest data win. README.md says what a person does with it.
#
#   state              what this member has, for the others: NAME STATE UUID SEQNO
#   decide SELF        what SELF shall do by the states on standard input: join, found, or `wait WHY`
#   start              before the database starts: waits until it may, and says how
#   turn               before it is stopped: waits while another member is on its way
#   watch              lets this member begin again where it runs and nobody is in a majority
#   without NAME...    do not wait for these any more: they are gone for ever
#   (nothing)          what all members say
#
# The module sets DIRECTORY (what it keeps until the next boot), MEMBERS (lines `name address`), SELF, PORT and PATIENCE.
set -euo pipefail

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
nobody=00000000-0000-0000-0000-000000000000

query() {
  mariadb --no-defaults --socket="$socket" --connect-timeout=2 --batch --skip-column-names --execute "$1"
}

# What is on the disk, as `UUID SEQNO`. A transfer that was broken off leaves nothing that counts.
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

# What a running database says of itself.
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
      # Until it is its turn it still serves, and who is on its way may join it.
      if ! [ -e "$DIRECTORY/stopping" ] && [[ "$(running)" =~ ^(synced|joined)\ (.*) ]]; then now="leaving ${BASH_REMATCH[2]}"; fi
      ;;
    activating/start-pre | activating/auto-restart*) now="waiting $(saved)" ;;
    inactive/* | failed/*) now="stopped $(saved)" ;;
    *) now=$(running) || now="starting - -1" ;;
  esac
  # After a crash only the database itself can tell how far it came; it is asked when it is started.
  case $now in
    waiting*-*-*" -1" | stopped*-*-*" -1") now="unknown - -1" ;;
  esac
  echo "$SELF $now"
}

is_gone() {
  [ -e "$DIRECTORY/without" ] && grep -qxF -- "$1" "$DIRECTORY/without"
}

# What all members say, a line each, this one by itself.
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
          # Who answers is not gone, and counts from now on.
          if is_gone "$name"; then rm -f "$DIRECTORY/without"; fi
          echo "$answer"
          ;;
        *) if is_gone "$name"; then echo "$name gone - -1"; else echo "$name silent - -1"; fi ;;
      esac
    fi
  done 4<"$MEMBERS"
}

# One who is in a majority is joined. Otherwise, all must have said what they have; the newest data win, then who runs, then who
# comes first. Whoever has data of another history is stopped, because joining would delete them.
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
      else if (primary != "" && mine == "own") print "wait this machine has a database of its own, which joining " primary " would delete"
      else if (primary != "" && mine != "empty" && mine != theirs) print "wait this machine has data of another database than " primary ", which joining would delete"
      else if (primary != "") print "join"
      else if (missing != "") print "wait nobody may begin before these have said what they have:" missing
      else if (histories) print "wait members have data of different databases: " history " is one"
      else if (best == self) print "found"
      else print "wait " best " has the newest data and must begin"
    }'
}

# Asks the database on the disk how far it came, where it was not shut down in order.
recover() {
  local log
  rm -f "$DIRECTORY/recovered"
  [[ "$(saved)" == *-*-*" -1" ]] || return 0
  echo "it was not shut down in order: looking how far it came"
  log=$DIRECTORY/recover.log
  rm -f "$log"
  mariadbd --defaults-file=/etc/my.cnf --datadir="$data" --skip-networking --socket="$DIRECTORY/recover.sock" \
    --wsrep-recover --log-error="$log" 2>/dev/null || true
  sed -nE 's/.*WSREP: Recovered position:? *([0-9a-f-]{36}):(-?[0-9]+).*/\1 \2/p' "$log" | tail -n 1 >"$DIRECTORY/recovered.new"
  if grep -q ' [0-9]*$' "$DIRECTORY/recovered.new"; then
    mv "$DIRECTORY/recovered.new" "$DIRECTORY/recovered"
    echo "it came to $(tr ' ' : <"$DIRECTORY/recovered")"
  else
    tail -n 20 "$log"
    # It takes all data from another member.
    echo "empty -1" >"$DIRECTORY/recovered"
  fi
  rm -f "$log" "$DIRECTORY/recovered.new"
}

# The arguments that it starts with, for the unit's script.
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
  # NixOS makes a database next, and says so only when it is made: one that was broken off is none of this machine's own.
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
        echo "begins: all members have said what they have, and nobody has more"
        [ ! -e "$data/grastate.dat" ] || sed -i 's/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/' "$data/grastate.dat"
        arguments --wsrep-new-cluster
        return
        ;;
    esac
    [ "$answer" = "$said" ] || echo "waits: ${answer#wait }"
    said=$answer
    if [ $SECONDS -ge "$PATIENCE" ]; then
      echo "gives up for now: ${answer#wait }" >&2
      exit 1
    fi
    sleep 1
  done
}

# Members that shall stop at the same time take turns, so that one deploy of all takes them one by one: whoever is about to stop says
# so, and goes when it looked around and nobody else does or is on its way. Who comes first in the list goes first. One that is not
# running, and shall not be, is not waited for; nor is anybody when the machine itself goes down.
turn() {
  local others marked= said=
  rm -f "$DIRECTORY/stopping"
  while [ $SECONDS -lt $((3 * PATIENCE)) ] && [ "$(systemctl is-system-running)" != stopping ]; do
    others=$(states | awk -v self="$SELF" '
      $1 == self { after = 1; next }
      $2 == "stopping" && after { $2 = "stepping-back" }
      $2 ~ /^(waiting|unknown|starting|joined|stopping|stepping-back)$/ || ($2 == "leaving" && !after) { print $1, $2 }')
    if [ -z "$others" ]; then
      # Another look once it is said: who looked at the same time sees it now.
      [ -z "$marked" ] || return 0
      marked=1
      touch "$DIRECTORY/stopping"
    elif [ -z "$marked" ] || grep -qv ' stepping-back$' <<<"$others"; then
      marked=
      rm -f "$DIRECTORY/stopping"
    fi
    [ -z "$others" ] || [ "$others" = "$said" ] || echo "before it stops, it waits for ${others//$'\n'/, }"
    said=$others
    sleep 0.5
  done
  touch "$DIRECTORY/stopping"
}

# So many went at once that who stayed is no majority: no member in a majority is left to join. Who stayed stops, and what shall
# become of all is decided as after a power loss.
watch() {
  local now
  while sleep 5; do
    now=$(running) || continue
    # It was said for this beginning only: the next one waits for all again.
    if [[ "$now" == "synced "* ]]; then rm -f "$DIRECTORY/without"; fi
    if [[ "$now" == "alone "* ]] && [ "$(states | decide "$SELF")" = found ]; then
      echo "begins again: all members have said what they have, and nobody has more"
      kill "$(systemctl show --property=MainPID --value mysql.service)" || true
    fi
  done
}

without() {
  local name all
  all=$(states)
  for name; do
    grep -q "^$name " "$MEMBERS" || { echo "$name is no member: $(cut -d' ' -f1 "$MEMBERS" | paste -sd ' ')" >&2; exit 2; }
    grep -qE "^$name (silent|gone) " <<<"$all" || { echo "$name answers: it is not gone" >&2; exit 3; }
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
