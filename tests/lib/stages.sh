# shellcheck shell=bash
# The stages of ./test: each runs whatever the result of the others, two lanes of scripts may run concurrently, and a
# table ends the run.

begin_stages() {
  # Tests that could not run here, a line each with name and reason. They are counted at the end.
  TEST_SKIPS=$(mktemp)
  export TEST_SKIPS
  # The result of each stage, a line each: status, seconds, name, its last line.
  results=$(mktemp)
  # Output of their failures, repeated at the end of the run.
  failures=$(mktemp)
  lanes=()
  trap 'rm -f "$TEST_SKIPS" "$results" "$failures"' EXIT
}
# stage NAME COMMAND...: runs it in a separate shell, and continues if it fails.
stage() {
  local name=$1 begun=$SECONDS status=0 log
  shift
  log=$(mktemp)
  printf '\n== %s\n' "$name"
  # In the background, because bash ignores `set -e` within a condition.
  ( ("$@") 2>&1 </dev/null | tee "$log") &
  wait "$!" || status=$?
  record "$status" "$((SECONDS - begun))" "$name" "$log"
}
record() { # STATUS SECONDS NAME LOG
  local last
  last=$(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$4" | tail -n 1) || true
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$last" >>"$results"
  if [ "$1" != 0 ]; then
    # The lines that a script's check, a Rust test and a compiler print of a failure, with the details that follow.
    grep -aE -A 6 '^(FAIL |FAILED |error|---- .* stdout ----)|--- FAILED$' "$4" | head -n 80 | sed "s|^|$3: |" >>"$failures" || true
  fi
  rm -f "$4"
}
# begin_lane SCRIPT...: runs them in sequence, in the background beside other lanes. end_lanes prints their output when
# all have ended.
begin_lane() {
  local log
  log=$(mktemp)
  run_lane "$@" >"$log" 2>&1 </dev/null &
  lanes+=("$!:$log")
}
run_lane() {
  local script begun status own
  for script; do
    begun=$SECONDS status=0 own=$(mktemp)
    printf '\n-- %s\n' "$script"
    "$script" 2>&1 | tee "$own" || status=1
    record "$status" "$((SECONDS - begun))" "$script" "$own"
  done
}
end_lanes() {
  local lane
  for lane in "${lanes[@]}"; do
    # A lane records its failed scripts; here it has ended early.
    wait "${lane%%:*}" || printf '1\t0\ta lane of scripts\t\n' >>"$results"
    cat "${lane#*:}"
    rm -f "${lane#*:}"
  done
  lanes=()
}
# Prints the table at the end; fails if a stage has failed, or none has run.
print_results() {
  local status seconds name last n_passed=0 n_failed=0
  if [ -s "$failures" ]; then printf '\n== failures\n' && cat "$failures"; fi
  printf '\n== results\n'
  while IFS=$'\t' read -r status seconds name last; do
    if [ "$status" = 0 ]; then n_passed=$((n_passed + 1)); else n_failed=$((n_failed + 1)); fi
    printf '%-6s %5s s  %-32s %s\n' "$([ "$status" = 0 ] && echo ok || echo FAILED)" "$seconds" "$name" "$last"
  done <"$results"
  sed 's/^/skipped: /' "$TEST_SKIPS"
  printf '\n%s passed, %s failed, %s skipped\n' "$n_passed" "$n_failed" "$(wc -l <"$TEST_SKIPS")"
  [ "$n_failed" = 0 ] && [ "$n_passed" -gt 0 ]
}
