# Reads `KIND MODE OWNER LENGTH PATH` lines, each followed by LENGTH bytes, up to `end`. Prints `changed` or
# `same` for each entry. No file is renamed into place before all of them have arrived.
set -eu
umask 077
LC_ALL=C
export LC_ALL
work=$(mktemp -d)
temporary=
trap 'rm -rf -- "$work"; while read -r path; do rm -f -- "$path"; done 2>/dev/null <<LIST
$temporary
LIST' EXIT
trap 'exit 1' HUP INT TERM
fail() { printf '%s\n' "$1" >&2; exit 1; }
is_as_wanted() { # PATH MODE OWNER
  [ "$(stat -L -c %a -- "$1")" = "$2" ] || return 1
  case $3 in "$(stat -L -c %U:%G -- "$1")" | "$(stat -L -c %u:%g -- "$1")") return 0 ;; esac
  return 1
}
: >"$work/report"
: >"$work/renames"
ended=
while IFS=' ' read -r kind mode owner length path; do
  case $kind in
    end) ended=1; break ;;
    d)
      if [ -d "$path" ] && is_as_wanted "$path" "$mode" "$owner"; then
        echo same >>"$work/report"
      else
        parent=$(dirname -- "$path")
        [ -d "$parent" ] || (umask 022; mkdir -p -- "$parent")
        [ -d "$path" ] || mkdir -- "$path"
        chown -- "$owner" "$path"
        chmod -- "$mode" "$path"
        echo changed >>"$work/report"
      fi
      ;;
    f)
      # Beside the target, so that the rename stays within a file system; mktemp makes it 0600.
      new=$(mktemp -- "$(dirname -- "$path")/.machinist.XXXXXXXXXX")
      temporary="$temporary
$new"
      head -c "$length" >"$new"
      [ "$(stat -c %s -- "$new")" = "$length" ] || fail "the contents of $path arrived incomplete"
      if [ -f "$path" ] && [ ! -L "$path" ] && is_as_wanted "$path" "$mode" "$owner" && cmp -s -- "$new" "$path"; then
        rm -f -- "$new"
        echo same >>"$work/report"
      else
        [ ! -d "$path" ] || fail "$path is a directory"
        # The owner first: changing it clears set-user-ID bits.
        chown -- "$owner" "$new"
        chmod -- "$mode" "$new"
        # Before any is renamed, the disk has all of them.
        sync -- "$new"
        printf '%s\n%s\n' "$new" "$path" >>"$work/renames"
        echo changed >>"$work/report"
      fi
      ;;
    *) fail "unknown entry $kind" ;;
  esac
done
[ -n "$ended" ] || fail 'the files arrived incomplete'
while IFS= read -r new && IFS= read -r path; do
  place_durably "$new" "$path"
done <"$work/renames"
cat -- "$work/report"
