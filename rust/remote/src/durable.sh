# The only way in which scripts write files that must survive a reset. Both functions return a status other than 0, with
# the reason on standard error, if the file was not replaced: it is unchanged then. A pipe into such a function would
# hide its status, so the text is an argument.

# place_durably NEW FILE: moves NEW, which is complete and beside FILE, to its place.
place_durably() {
  sync -- "$1" && mv -fT -- "$1" "$2" && sync -- "${2%/*}/"
}
# write_durably FILE TEXT: replaces FILE by TEXT and an end of line.
write_durably() {
  if printf '%s\n' "$2" >"$1.new" && place_durably "$1.new" "$1"; then return 0; fi
  rm -f -- "$1.new"
  echo "cannot write $1; is its file system full?" >&2
  return 1
}
