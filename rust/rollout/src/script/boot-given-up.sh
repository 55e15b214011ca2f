# Ends the trial of a system that did not come up, or was not booted: the next boot is the default, and the record says
# why. Prints the last lines of the boot in between, if the journal has any. Set before these lines: new, words, boot (the
# boot before the trial), and the variables of holds.sh.
kept=/var/lib/machinist
find_loader
if [ -z "$once" ]; then disarm; fi
if grep -qxF "new=$new" "$kept/activation" && grep -qx 'state=booting' "$kept/activation"; then
  write_durably "$kept/activation" "$(grep -v '^state=' "$kept/activation")
state=reverted $words"
fi
# The boots that the journal knows, the newest last: number, identifier ...
between=$(journalctl --list-boots --no-pager 2>/dev/null | awk '$1 == "-1" { print $2 }')
if [ -n "$between" ] && [ "$between" != "$(printf '%s' "$boot" | tr -d -)" ]; then
  journalctl --boot="$between" --priority=warning --lines=8 --output=cat --no-pager 2>/dev/null | sed 's/^/  boot: /' | cut -c 1-300
fi
