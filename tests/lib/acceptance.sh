# shellcheck shell=bash
# `machinist test` on a cluster in the sandbox. Sourced after tests/lib/cluster.sh.

# tested OPTION...: prints the exit code of a test and the names of the checks that failed. Its result is in $here/tested.
tested() {
  local status=0
  m test --json "$@" >"$here/tested" 2>"$here/tested.log" </dev/null || status=$?
  echo "$status" "$(checks_that failed)"
}
# checks_that RESULT: names of those checks of the last test.
checks_that() {
  jq -r --arg result "$1" '[.checks[] | select(.result == $result).name] | join(" ")' "$here/tested" 2>&1
}
# says_of CHECK: the nodes and problems that the last test found in a check.
says_of() {
  jq -r --arg name "$1" '[.checks[] | select(.name == $name) | .problems[]? | ((.node // "-") + ": " + .why)] | join("; ")' "$here/tested" 2>&1
}
