# Makes an activation revert, for the reason $words. Set before these lines: directory, words.
umask 077
if [ -d "$directory" ]; then printf '%s\n' "$words" >"$directory/abort.new" && mv -f "$directory/abort.new" "$directory/abort"; fi
