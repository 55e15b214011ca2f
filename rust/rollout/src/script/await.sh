# Waits until the activation is no longer in one of the passing states and prints the state. Set before these lines:
# directory, unit, passing (first words or whole states, joined by |).
# A round starts one process, the sleep, and rounds get longer: on small machines, asking often is what delays the answer.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
rounds=0
pause=0.05
while :; do
  state=''
  read -r state 2>/dev/null <"$directory/state" || [ -e "$directory/state" ] || { echo "gone"; exit 0; }
  state=${state:-starting}
  case "|$passing|" in
    *"|${state%% *}|"* | *"|$state|"*) ;;
    *) break ;;
  esac
  rounds=$((rounds + 1))
  # The unit may have been killed: then nothing will ever change the state.
  if [ $((rounds % 20)) -eq 0 ] && ! systemctl is-active --quiet "$unit"; then
    read -r now 2>/dev/null <"$directory/state" || now=''
    [ "${now:-starting}" = "$state" ] && { echo "died $state"; exit 0; }
  fi
  if [ "$rounds" -eq 20 ]; then pause=0.1; fi
  sleep "$pause"
done
printf '%s\n' "$state"
