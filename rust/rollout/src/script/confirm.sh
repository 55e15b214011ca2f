# Confirms, before await.sh waits for the result. Set before these lines: directory, and the variables of holds.sh. A
# host that was reset since has no such directory any more, which await.sh detects. A run that has lost its lock to
# another one confirms nothing: it reports the result of the host or the other run.
if holds; then
  if ! true 2>/dev/null >"$directory/confirm" && read -r state 2>/dev/null <"$directory/state" && [ "$state" = waiting ]; then
    echo "cannot write $directory/confirm; is /run full?" >&2
    exit 1
  fi
fi
