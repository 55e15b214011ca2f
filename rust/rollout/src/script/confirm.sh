# Confirms, before await.sh waits for what becomes of it. Set before these lines: directory, and what holds.sh says. A host that
# was reset since has no such directory any more. A run whose lock another one has taken confirms nothing: it sees what the host
# or the other run does.
[ -d "$directory" ] || { echo "gone"; exit 0; }
if holds; then true 2>/dev/null >"$directory/confirm" || { echo "gone"; exit 0; }; fi
