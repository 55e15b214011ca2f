# Waits until the activation is no longer in one of the passing states and prints the state. Set before these lines:
# directory, unit, passing (an extended regular expression).
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
rounds=0
while :; do
  state=$(cat "$directory/state" 2>/dev/null) || { echo "gone"; exit 0; }
  printf '%s\n' "${state:-starting}" | grep -Eq "^($passing)( |\$)" || break
  rounds=$((rounds + 1))
  # The unit may have been killed: then nothing will ever change the state.
  if [ $((rounds % 20)) -eq 0 ] && ! systemctl is-active --quiet "$unit"; then
    [ "$(cat "$directory/state")" = "$state" ] && { echo "died ${state:-starting}"; exit 0; }
  fi
  sleep 0.05
done
printf '%s\n' "$state"
