# Removes the old address of a node that has moved. Set before these lines: old, new, peers (addresses of other nodes), and
# action: with `check` nothing is removed. Prints `kept` if the address is not known to be machinist's: then it is left to
# the network, which configures the interface. May run again. Status 3: the new address is missing, or packets would still be sent from the old one.
export PATH=/run/current-system/sw/bin:/usr/sbin:/sbin:$PATH
entries() {
  ip -o address show to "$1" | while read -r _ device _ cidr _; do echo "$device $cidr"; done
}
if [ -z "$(entries "$new")" ]; then
  echo "this machine does not have the address $new" >&2
  exit 3
fi
for peer in $peers; do
  case " $(ip -o route get "$peer" 2>/dev/null) " in
    *" src $old "*)
      echo "packets to $peer are still sent from $old" >&2
      exit 3
      ;;
  esac
done
if [ "$action" = check ]; then exit 0; fi
if [ "$(cat /run/machinist-addresses 2>/dev/null)" = configured ]; then
  entries "$old" | while read -r device cidr; do ip address del "$cidr" dev "$device"; done
elif [ -n "$(entries "$old")" ]; then
  echo kept
fi
