# shellcheck shell=bash
# Checks of a test script: each prints one line, and is counted. The script runs under `set -uo pipefail`, without `set -e`.
#
#   check NAME COMMAND...                      the command exits 0
#   check_exit NAME STATUS PATTERN COMMAND...  it exits with STATUS and prints a line that matches PATTERN
#   must NAME STATUS PATTERN COMMAND...        as check_exit; the script ends if that fails
#   equal NAME GOT WANTED                      two texts are the same
#   within NAME SECONDS OUTPUT                 a number that is at most SECONDS
#   eventually NAME SECONDS WANTED COMMAND...  the command prints WANTED before that time is over
#   skip NAME REASON                           a check that cannot run here; ./test lists it at its end
#   print_counts                               the last line of a script; fails if a check failed
#
# A check that something is absent needs a positive control, which its probe must find: a probe that fails, or finds
# nothing at all, fails the check.
#
#   without NAME CONTROL PATTERN COMMAND...    it exits 0, prints a line that matches CONTROL, and none that matches PATTERN
#   changed NAME BEFORE COMMAND...             it exits 0 and prints something other than BEFORE
#
# Seconds are those of an idle computer, see `patience`.
#
# The standard input of a command is closed: one that asks a question fails, and does not wait for an answer.

passed=0
failed=0
skipped=0
# Output of the last command of check, check_exit and must.
output=

pass() {
  passed=$((passed + 1))
  printf 'ok    %s\n' "$1"
}
# fail NAME DETAIL...
fail() {
  failed=$((failed + 1))
  printf 'FAIL  %s\n' "$1"
  shift
  printf '%s\n' "$@" | head -n 40 | cut -c 1-400 | sed 's/^/      /'
}
skip() {
  skipped=$((skipped + 1))
  printf 'skip  %s: %s\n' "$1" "$2"
  [ -z "${TEST_SKIPS:-}" ] || printf '%s: %s\n' "$1" "$2" >>"$TEST_SKIPS"
}
print_counts() {
  printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" = 0 ]
}

# The command may be a function that reads a global variable, so local names here must not hide one.
check() {
  local _name=$1
  shift
  if output=$("$@" 2>&1 </dev/null); then
    pass "$_name"
  else
    fail "$_name" "\$ $*" "status $?" "$(tail -n 25 <<<"$output")"
  fi
}
check_exit() {
  local _name=$1 _wanted=$2 _pattern=$3 _status
  shift 3
  output=$("$@" 2>&1 </dev/null)
  _status=$?
  if [ "$_status" = "$_wanted" ] && grep -Eq -- "$_pattern" <<<"$output"; then
    pass "$_name"
  else
    fail "$_name" "\$ $*" "status $_status, wanted $_wanted and: $_pattern" "$(tail -n 25 <<<"$output")"
  fi
}
must() {
  local _before=$failed
  check_exit "$@"
  [ "$failed" = "$_before" ] || {
    print_counts
    exit 1
  }
}
equal() {
  if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:    $2" "wanted: $3"; fi
}
without() {
  local _name=$1 _control=$2 _pattern=$3 _output _status _found
  shift 3
  _output=$("$@" 2>&1 </dev/null)
  _status=$?
  _found=$(grep -E -- "$_pattern" <<<"$_output")
  if [ "$_status" = 0 ] && grep -Eq -- "$_control" <<<"$_output" && [ -z "$_found" ]; then
    pass "$_name"
  else
    fail "$_name" "\$ $*" "status $_status, wanted 0, a line with: $_control" "and none with: $_pattern" "${_found:-$_output}"
  fi
}
changed() {
  local _name=$1 _before=$2 _output _status
  shift 2
  _output=$("$@" 2>&1 </dev/null)
  _status=$?
  if [ "$_status" = 0 ] && [ -n "$_output" ] && [ "$_output" != "$_before" ]; then
    pass "$_name"
  else
    fail "$_name" "\$ $*" "status $_status, wanted 0 and another value than: $_before" "$_output"
  fi
}

# patience SECONDS: prints the seconds scaled by this computer's load. One second of work takes as many as there are processes
# per core; a factor of four is enough for anything that works.
patience() {
  awk -v seconds="$1" -v cores="$(nproc)" '{
    slow = $1 / cores
    printf "%.0f\n", seconds * (slow < 1 ? 1 : slow > 4 ? 4 : slow)
  }' /proc/loadavg
}
within() {
  local _bound
  _bound=$(patience "$2")
  if awk -v a="$3" -v b="$_bound" 'BEGIN { exit !(a ~ /^[0-9.]+$/ && a <= b) }'; then
    pass "$1 ($3 s, at most $2)"
  else
    fail "$1" "$3" "wanted: at most $2 s, on a computer that is as busy as this one $_bound s"
  fi
}
# since MOMENT: seconds since then, an earlier $EPOCHREALTIME.
since() {
  awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f\n", b - a }'
}

# wait_until SECONDS COMMAND...: waits until the command succeeds. Fails, and prints its last output, after that time.
wait_until() {
  local _bound _begun=$SECONDS _output
  _bound=$(patience "$1")
  shift
  until _output=$("$@" 2>&1 </dev/null); do
    if [ $((SECONDS - _begun)) -ge "$_bound" ]; then
      printf 'not within %s s: %s\n%s\n' "$_bound" "$*" "$_output"
      return 1
    fi
    sleep 0.1
  done
}
eventually() {
  local _name=$1 _bound _wanted=$3 _got='' _begun=$SECONDS
  _bound=$(patience "$2")
  shift 3
  while :; do
    _got=$("$@" 2>&1 </dev/null)
    if [ "$_got" = "$_wanted" ] || [ $((SECONDS - _begun)) -gt "$_bound" ]; then break; fi
    sleep 0.2
  done
  equal "$_name" "$_got" "$_wanted"
}
# took SECONDS WANTED COMMAND...: prints the seconds until the command prints WANTED.
took() {
  local _bound _wanted=$2 _begun=$EPOCHREALTIME _got=''
  _bound=$(patience "$1")
  shift 2
  while :; do
    _got=$("$@" 2>&1 </dev/null)
    [ "$_got" != "$_wanted" ] || break
    if awk -v a="$_begun" -v b="$EPOCHREALTIME" -v most="$_bound" 'BEGIN { exit !(b - a > most) }'; then
      echo "after $_bound s: $_got"
      return 1
    fi
    sleep 0.05
  done
  since "$_begun"
}
