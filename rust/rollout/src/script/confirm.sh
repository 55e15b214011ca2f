# Confirms, before await.sh waits for what becomes of it. Set before these lines: directory, and what holds.sh says. A host that
# was reset since has no such directory any more, which await.sh finds out. A run whose lock another one has taken confirms
# nothing: it sees what the host or the other run does.
if holds; then
  if ! true 2>/dev/null >"$directory/confirm" && read -r state 2>/dev/null <"$directory/state" && [ "$state" = waiting ]; then
    echo "cannot write $directory/confirm; is /run full?" >&2
    exit 1
  fi
fi
