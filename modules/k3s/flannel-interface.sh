# Names the interface that has the node's address for the flannel inside k3s, which would take that of the default route.
#   ADDRESS  the node's address
#   FILE     k3s' configuration, which is replaced
device_of() {
  ip -o address show to "$1" | { read -r _ name _ && printf %s "$name"; }
}
for _ in {1..60}; do
  device=$(device_of "$ADDRESS") && break
  sleep 0.5
done
if [ -z "$device" ]; then
  echo "no interface has the node's address $ADDRESS" >&2
  exit 1
fi
mkdir -p "$(dirname "$FILE")"
printf 'flannel-iface: "%s"\n' "$device" >"$FILE.new"
mv "$FILE.new" "$FILE"
