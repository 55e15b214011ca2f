# Imports a slice from stdin and keeps it for the peers. Set before these lines: directory, slice. Prints `kept` on
# success.
umask 022
new=$directory/$slice.new
# Without disk space for the copy the import continues all the same.
{ tee "$new" || rm -f "$new"; } 2>/dev/null | import_durably || { rm -f "$new"; exit 1; }
if mv -f "$new" "$directory/$slice" 2>/dev/null; then echo kept; fi
