# Waits until the activation is no longer in one of the passing states and prints the state. Set before these lines:
# directory, unit, passing (first words or complete states, joined by |), and the activation's own: run, new. A round
# starts one process, the sleep, and rounds get longer: on small machines, frequent polling delays the result.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
# finished STATE: prints the activation's result from the record that survives a reset, or else the state.
finished() {
  found_run='' found_new='' found_state=''
  while IFS= read -r line; do
    case $line in
      run=*) found_run=${line#run=} ;;
      new=*) found_new=${line#new=} ;;
      state=*) found_state=${line#state=} ;;
    esac
  done 2>/dev/null </var/lib/machinist/activation
  if [ "$found_run" = "$run" ] && [ "$found_new" = "$new" ]; then
    case $found_state in
      confirmed* | reverted* | failed* | broken*) printf '%s\n' "$found_state"; exit 0 ;;
    esac
  fi
  echo "$1"
  exit 0
}
rounds=0
pause=0.05
while :; do
  state=''
  read -r state 2>/dev/null <"$directory/state" || [ -e "$directory/state" ] || finished "gone"
  state=${state:-starting}
  case "|$passing|" in
    *"|${state%% *}|"* | *"|$state|"*) ;;
    *) break ;;
  esac
  rounds=$((rounds + 1))
  # The unit may have been killed: then the state will never change.
  if [ $((rounds % 20)) -eq 0 ] && ! systemctl is-active --quiet "$unit"; then
    read -r now 2>/dev/null <"$directory/state" || now=''
    [ "${now:-starting}" = "$state" ] && finished "died $state"
  fi
  if [ "$rounds" -eq 20 ]; then pause=0.1; fi
  sleep "$pause"
done
printf '%s\n' "$state"
