# Serves one connection of a peer, which sends the token of the run and the number of a slice, and gets the slice or
# nothing.
# Set before these lines: directory, token.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
# One connection for each of the files place.*, because any client that reaches the port may open any number of them.
for place in "$directory"/place.*; do
  exec 9<"$place" || exit 0
  if flock --nonblock 9; then break; fi
  place=
done
[ -n "$place" ] || exit 0
# The request must arrive in time and in one piece, as a peer sends it; an endless line is not buffered.
line=$(timeout 5 dd bs=256 count=1 2>/dev/null) || exit 0
given=${line%% *}
slice=$(printf '%s\n' "${line#* }" | head -n 1)
[ "$given" = "$token" ] || exit 0
case $slice in '' | *[!0-9]*) exit 0 ;; esac
[ -f "$directory/$slice" ] || exit 0
# A peer that receives less than 500 KB a second is not on this network.
exec timeout "$((60 + $(stat -c %s "$directory/$slice") / 500000))" cat "$directory/$slice"
