# The lock of this node, for scripts that act under it. Set before these lines: fence and run, the token; margin, in seconds.
lock=/var/lib/machinist/lock
other=nobody
read_lock() {
  found_fence=0 found_from='' found_run='' found_boot='' expires=0 lasts=0 other=nobody
  while IFS= read -r line; do
    case $line in
      fence=*) found_fence=${line#fence=} ;;
      from=*) found_from=${line#from=} ;;
      run=*) found_run=${line#run=} ;;
      who=*) other=${line#who=} ;;
      boot=*) found_boot=${line#boot=} ;;
      expires=*) expires=${line#expires=} ;;
      lasts=*) lasts=${line#lasts=} ;;
    esac
  done 2>/dev/null <"$lock"
  gone="the lock of this run is gone ($other holds it now)"
}
# True if the lock has exactly this token and cannot be taken over within the margin. Required to begin an action.
holds() {
  read_lock
  [ "$found_fence" = "$fence" ] && [ "$found_run" = "$run" ] || return 1
  gone="the lock of this run has not been renewed"
  read -r now </proc/sys/kernel/random/boot_id
  read -r uptime _ </proc/uptime
  if [ "$found_boot" != "$now" ]; then expires=$lasts; fi
  [ "$((expires - ${uptime%%.*}))" -ge "$margin" ]
}
# True if the run still holds the lock, resumed or not. Required to continue an action that was begun under the token.
belongs() {
  read_lock
  [ "$found_run" = "$run" ] && [ "${found_from:-$found_fence}" -le "$fence" ] && [ "$fence" -le "$found_fence" ]
}
