# Changes this node's lock in one step. Set before these lines: action and its variables:
#   take     replaces the lock by $claim, if it still equals $expected
#   renew    extends it, if $fence and $run still hold it
#   release  leaves only the counter, if $fence and $run still hold it
# Prints `verdict=done` or `verdict=lost`; look.sh follows.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
umask 022
mkdir -p /var/lib/machinist || exit 1
lock=/var/lib/machinist/lock
# Guards are separate files: the lock itself is replaced, and a lock on a replaced file protects nothing. The first one
# protects the holder: an activation holds it from its confirmation until the boot loader is installed, which may take
# as long as an activation. A renewal does not change the holder, so it does not wait for that guard.
if [ "$action" != renew ]; then
  exec 9>"$lock.guard" || exit 1
  flock -w 60 9 || { echo "the guard $lock.guard is held by another process" >&2; exit 1; }
fi
# The second one protects the file, from reading it to replacing it.
exec 8>"$lock.writing" || exit 1
flock -w 20 8 || { echo "the guard $lock.writing is held by another process" >&2; exit 1; }
ours() {
  grep -qxF "fence=$fence" "$lock" 2>/dev/null && grep -qxF "run=$run" "$lock"
}
term() {
  printf 'boot=%s\n' "$(cat /proc/sys/kernel/random/boot_id)"
  printf 'expires=%s\n' $(($(cut -d. -f1 /proc/uptime) + $1))
}
verdict=lost
case $action in
  take)
    if [ "$(cat "$lock" 2>/dev/null)" = "$expected" ]; then
      write_durably "$lock" "$claim
$(term "$lasts")" || exit 1
      verdict=done
    fi
    ;;
  renew)
    if ours; then
      write_durably "$lock" "$(grep -vE '^(boot|expires)=' "$lock")
$(term "$lasts")" || exit 1
      verdict=done
    fi
    ;;
  release)
    if ours; then
      write_durably "$lock" "fence=$fence" || exit 1
      verdict=done
    fi
    ;;
esac
echo "verdict=$verdict"
exec 8>&- 9>&-
