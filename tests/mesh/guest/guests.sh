# shellcheck shell=bash
# The two guests of tests/mesh/wireguard and the network between them. Sourced; the script has called trial_begin.

override_inputs=()
for one in $MACHINIST_OVERRIDE_INPUTS; do override_inputs+=(--override-input "${one%%=*}" "${one#*=}"); done

# The cluster's directory, the systems of both nodes for each backend, and the image that both boot.
guests_make() {
  mkdir -p "$here/image/root/nix/store" "$here/keys"
  cp "$tests/guest-cluster/machines.nix" "$here/machines.nix"
  must "init" 0 '' m init --from "$here/machines.nix" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  must "certificates" 0 '' m certs gen
  must "systems of both nodes by each backend" 0 '' systems
  must "the nodes' keys" 0 '' keys
  must "the guests' image" 0 '' "$tests/guest/image" "$here/image"
}
systems() {
  local backend node file root=$here/image/root
  for backend in vxlan host-gw wireguard; do
    sed -i "s/backend = \"[a-z-]*\"/backend = \"$backend\"/" "$cluster/machines.nix"
    m generate && git -C "$cluster" add --all || return
    for node in w1 w2; do
      mkdir -p "$root/nodes/$node"
      nix build --out-link "$root/nodes/$node/$backend" --no-write-lock-file "${override_inputs[@]}" \
        "git+file://$cluster#nixosConfigurations.$node.config.system.build.toplevel" || return
      nix-store --query --requisites "$root/nodes/$node/$backend" | while read -r file; do
        [ -e "$root$file" ] || cp --archive "$file" "$root$file"
      done
    done
  done
}
keys() {
  local node name file
  for node in w1 w2; do
    mkdir -p "$here/image/root/nodes/$node/keys"
    nix eval --json --impure --expr "builtins.mapAttrs (_: each: each.key) (import $cluster/generated/$node.nix).machinist.pki.certificates" |
      jq --raw-output 'to_entries[] | "\(.key) \(.value)"' >"$here/key-files"
    while read -r name file; do
      key "nodes/$node/$name" >"$here/image/root/nodes/$node/keys/$(basename "$file")" || return
    done <"$here/key-files"
  done
  for name in nodes/etcd1/etcd-server operators/etcd-operator; do key "$name" >"$here/keys/$(basename "$name")" || return; done
}
key() { # NAME: as an operator reads it
  age --decrypt --identity "$MACHINIST_IDENTITY" "$cluster/certs/$1.key.age"
}

# Succeeds once unshare has left this script's namespace.
in_own_namespace() {
  [ "$(readlink "$operator")" != "$(readlink /proc/$$/ns/net)" ]
}
# A switch with a port for each guest, on which etcd and a host outside the overlay run as well.
guests_start() {
  local node
  unshare --net sleep infinity &
  background+=($!)
  operator=/proc/$!/ns/net
  wait_until 20 in_own_namespace || fail "a namespace"
  outside sh -c "ip link set lo up && ip link add nodes type bridge && ip address add $net.2/24 dev nodes && ip link set nodes up" ||
    fail "a network"
  for node in w1 w2; do
    outside sh -c "ip tuntap add $node mode tap && ip link set $node master nodes up" || fail "a port for $node"
    in_background "$operator" "$here/$node.console" timeout 900 qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -cpu max -m 640 -smp 1 \
      -nodefaults -no-reboot -display none -serial stdio -kernel "$here/image/vmlinuz" -initrd "$here/image/initramfs" \
      -netdev "tap,id=nodes,ifname=$node,script=no,downscript=no" -device "virtio-net-pci,netdev=nodes,romfile=,mac=52:54:00:00:00:0${node#w}" \
      -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on node=$node address=${ip[$node]}/24 gateway=$net.2 systemd.unit=multi-user.target systemd.default_standard_output=null"
  done
  etcd_start
}
# on NODE COMMAND...: runs it in the guest's console.service, whose shell prefers busybox' own programs.
on() {
  local node=$1
  shift
  outside timeout 60 busybox nc -w 3 "${ip[$node]}" 22 <<<"$*"
}
both_answer() {
  local node
  for node in w1 w2; do
    for _ in $(seq 1 120); do
      [ "$(on "$node" hostname 2>/dev/null)" != "$node" ] || continue 2
      sleep 0.5
    done
    tail -n 20 "$here/$node.console"
    return 1
  done
}

etcd_start() {
  in_background "$operator" "$here/etcd.log" etcd --name etcd1 --data-dir "$here/etcd" --unsafe-no-fsync \
    --listen-client-urls "https://$net.2:2379" --advertise-client-urls "https://$net.2:2379" \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster etcd1=http://127.0.0.1:2380 \
    --client-cert-auth --trusted-ca-file "$cluster/certs/authorities/etcd.pem" \
    --cert-file "$cluster/certs/nodes/etcd1/etcd-server.pem" --key-file "$here/keys/etcd-server"
  etcd_process=$last
  for _ in $(seq 1 50); do
    ! etcd endpoint health >/dev/null 2>&1 || return 0
    sleep 0.2
  done
}
etcd_stop() {
  kill "$etcd_process"
  wait "$etcd_process"
}
etcd() {
  outside env ETCDCTL_API=3 etcdctl --command-timeout=5s --endpoints="https://$net.2:2379" --cacert="$cluster/certs/authorities/etcd.pem" \
    --cert="$cluster/certs/operators/etcd-operator.pem" --key="$here/keys/etcd-operator" "$@"
}
leases() {
  etcd get --prefix --keys-only /coreos.com/network/subnets/ | xargs
}
configure() { # BACKEND: as the deploy does at its end
  etcd put /coreos.com/network/config "$(cat "$tests/guest-cluster/network/$1.json")" && etcd del --prefix /coreos.com/network/subnets/
}

reaches() { # NODE OTHER
  on "$1" "ping -c 1 -W 2 ${inner[$2]} >/dev/null 2>&1 && echo yes || echo no"
}
both_reach_by() { # BACKEND: each has its way to the other by it, and has an answer
  local node found=
  declare -A device=([wireguard]=flannel-wg [vxlan]=flannel.1 [host-gw]=eth0)
  for node in w1:w2 w2:w1; do
    found+=$(on "${node%:*}" "ip route get ${inner[${node#*:}]} 2>&1" | grep -c " dev ${device[$1]} ")
  done
  if [ "$found" = 11 ]; then both_reach; else echo "not by ${device[$1]}: $(on w1 ip route 2>&1)"; fi
}
both_have_parts() {
  for node in w1 w2; do
    for _ in $(seq 1 100); do
      [ "$(on "$node" "grep -c '^FLANNEL_MTU=' /run/flannel/subnet.env")" != 1 ] || continue 2
      sleep 0.3
    done
    fail "$node has its part again" "$(on "$node" 'tail -n 5 /run/flannel.log')"
  done
}
both_reach() {
  echo "$(reaches w1 w2) $(reaches w2 w1)"
}
try_both() {
  tried=$(both_reach)
}
# w2 sends the word to w1 through the overlay.
tell() {
  told=$(on w1 "echo 'echo $word' | timeout 10 nc -w 5 ${inner[w2]} 22")
}
carried_by_wireguard() { # bytes that w2 has received from its peers
  on w2 "wg show flannel-wg transfer | awk '{ sum += \$2 } END { print sum + 0 }'"
}
peer_of() { # NODE PART: the key to which it sends what is for the part
  on "$1" wg show flannel-wg allowed-ips | awk -v part="$2" '$2 == part { print $1 }'
}
peers() { # NODE: the parts for which it has a key
  # flannel keeps the peer of a key that was replaced, without a subnet: it can neither send nor receive.
  on "$1" wg show flannel-wg allowed-ips | awk '$2 != "(none)" { print $2 }' | sort | xargs
}
# flannel 0.28 could panic while it stopped, and leave its device behind.
ended_well() {
  local node
  for node in w1 w2; do
    if on "$node" 'cat /run/flannel.log' | grep -A 8 '^panic'; then return 1; fi
  done
}
devices() { # flannel's, of both
  echo "$(on w1 'ls /sys/class/net' | grep flannel | xargs) $(on w2 'ls /sys/class/net' | grep flannel | xargs)"
}

# capture COMMAND...: records the packets of the nodes' network during the command in $here/packets, without those of
# etcd and of this test, and with one control packet at the end: a capture without it proves nothing.
capture() {
  local process
  in_background "$operator" "$here/tcpdump" tcpdump --immediate-mode -U -Z root -i w1 -w "$here/packets" "not host $net.2"
  process=$last
  for _ in $(seq 1 50); do
    ! grep -q 'listening on' "$here/tcpdump" || break
    sleep 0.1
  done
  "$@"
  on w1 "bash -c 'echo control >/dev/udp/${ip[w2]}/9'"
  sleep 0.5
  kill -INT "$process"
  wait "$process"
}
# packets FILTER: the matching packets of the last capture.
packets() {
  tcpdump -Z root -nr "$here/packets" "$1" 2>"$here/tcpdump" || cat "$here/tcpdump"
}
seen() { # FILTER: whether there were such packets
  if [ -z "$(packets "udp port 9 and host ${ip[w2]}")" ]; then
    echo "the control was not captured"
  elif [ -n "$(packets "$1")" ]; then
    echo yes
  else
    echo no
  fi
}
word_seen() {
  local count
  count=$(grep -ac "$word" "$here/packets") || [ "$count" = 0 ] || return
  case $(seen 'udp port 9'),$count in
    yes,0) echo no ;;
    yes,*) echo yes ;;
    *) seen 'udp port 9' ;;
  esac
}
# A host on the nodes' network that is not a node of the overlay: its packets reach the right machine, but not through
# the overlay.
stranger_is_refused() {
  local address
  outside ip route replace 10.10.6.0/24 via "${ip[w2]}"
  for address in "${ip[w2]}" "${inner[w2]}"; do
    outside busybox ping -c 1 -W 2 "$address" >/dev/null 2>&1 && echo ping
    outside timeout 3 busybox nc -w 2 "$address" 22 <<<'echo shell' 2>/dev/null
  done | xargs >"$here/stranger"
  equal "a stranger reaches the node, and not by its address in the overlay" "$(cat "$here/stranger")" 'ping shell'
}

# change BACKEND: as in a deploy, the nodes prepare one after the other, and then all change at once.
change() {
  local node longest
  # Time of each response, in seconds since boot.
  on w1 "while :; do ping -c 1 -W 1 ${inner[w2]} >/dev/null 2>&1 && cut -d ' ' -f 1 /proc/uptime; sleep 0.1; done >/run/answers 2>&1 &
    echo \$! >/run/asking"
  for node in w1 w2; do on "$node" "take-system $1" >"$here/take-system-$node" 2>&1; done
  both_have_parts
  must "etcd has what the deploy writes" 0 OK configure "$1"
  eventually "nodes reach each other by $1" 60 'yes yes' both_reach_by "$1"
  longest=$(on w1 "kill \$(cat /run/asking); sleep 1; cut -d ' ' -f 1 /proc/uptime >>/run/answers
    awk 'NR > 1 && \$1 - last > most { most = \$1 - last } { last = \$1 } END { print most }' /run/answers")
  echo "      without an answer meanwhile: $longest s at most"
}
