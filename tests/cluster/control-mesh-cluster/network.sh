# shellcheck shell=bash
# A control mesh between machines of a sandbox that have no network in common. On the sandbox's own bridge they reach only
# the operator. Each has another card, to a router between public networks; n3's is behind NAT, and n4 has no endpoint.
# Sourced with `project` set; `backend` and `nodes` are set before mesh_begins.
#
#   mesh_begins                the networks, and a cluster of the nodes, installed and deployed
#   networks_are_apart         checks of who reaches whom
#   only_the_mesh_is_on_the_way    checks of the packets at the router
#   keys_are_rotated           a rotation while a client writes
#   network_begin MACHINE...   makes the machines, with the programs of the backend, and the networks
#   plug MACHINE               puts its card into its network; a boot of the machine takes it out
#   write_machines MACHINE...  the cluster's machines.nix, with these members
#   network_end                removes what network_begin made, besides the machines

# shellcheck source=tests/lib/cluster.sh
. "$project/tests/lib/cluster.sh"
# shellcheck source=tests/lib/clouds.sh
. "$project/tests/lib/clouds.sh"
# shellcheck source=tests/lib/ledger.sh
. "$project/tests/lib/ledger.sh"

# shellcheck disable=SC2034
declare -gA host=([n1]=11 [n2]=12 [n3]=13 [n4]=14) public=([n1]=198.51.100.2 [n2]=203.0.113.2 [n3]=192.168.77.2 [n4]=203.0.113.10)
declare -gA gateway=([n1]=198.51.100.1 [n2]=203.0.113.1 [n3]=192.168.77.1 [n4]=203.0.113.9)
declare -gA port=([tinc]=655 [wireguard]=51821) unit=([tinc]=tinc.control [wireguard]=machinist-control)
declare -gA inner=([n1]=10.99.7.1 [n2]=10.99.7.2 [n3]=10.99.7.3 [n4]=10.99.7.4)

network_begin() {
  local node
  farm_begin "$net.0/24" "$net.250"
  for node in "$@"; do echo "$node $net.${host[$node]}" >>"$farm/list"; done
  farm_up
  internet=$trial-internet home=$trial-home switch=mch-$trial-farm._switch
  ip netns add "$internet"
  ip netns add "$home"
  ip -n "$internet" link set lo up
  ip -n "$home" link set lo up
  ip netns exec "$internet" sysctl -qw net.ipv4.ip_forward=1
  ip netns exec "$home" sysctl -qw net.ipv4.ip_forward=1
  # The home's own address in the public network.
  ip -n "$internet" link add home type veth peer name wan netns "$home"
  ip -n "$internet" address add 203.0.113.129/30 dev home
  ip -n "$internet" link set home up
  ip -n "$home" address add 203.0.113.130/30 dev wan
  ip -n "$home" link set wan up
  ip -n "$home" route add default via 203.0.113.129
  ip netns exec "$home" nft 'table ip nat { chain out { type nat hook postrouting priority 100; oifname "wan" masquerade; }; }'
  for node in "$@"; do bring_backend "$node"; done
}
# As `bring` does, for machines of the farm; their own Debian has an earlier tinc.
bring_backend() {
  local root programs
  ip[$1]=$net.${host[$1]}
  if [ "$backend" = tinc ]; then
    programs=("$project/testbed/tinc")
  else
    # shellcheck source=/dev/null
    root=$(. "/var/lib/machinist/sandbox/$trial-farm/machines/$1/settings" && echo "$root")
    programs=("$project/testbed/programs" "$root" wireguard-tools wireguard-go)
  fi
  "${programs[@]}" 2>"$here/programs" | first_login "$1" 'tar --extract --directory / --skip-old-files && ldconfig' ||
    fail "$backend on $1" "$(tail -n 20 "$here/programs")"
}
plug() {
  local node=$1 router=$internet
  [ "$node" != n3 ] || router=$home
  namespaces[$node]=$(farm_namespace "$node")
  local namespace=${namespaces[$node]##*/}
  ip -n "$router" link add "$node" type veth peer name wan0 netns "$namespace"
  ip -n "$router" address add "${gateway[$node]}/30" dev "$node"
  ip -n "$router" link set "$node" up
  ip -n "$namespace" address add "${public[$node]}/30" dev wan0
  ip -n "$namespace" link set wan0 up
  ip -n "$namespace" route add default via "${gateway[$node]}"
  # Ports of the bridge reach only the operator's.
  local end
  while read -r end; do
    [ "$end" = operator ] || bridge -n "$switch" link set dev "$end" isolated on
  done < <(ip -n "$switch" -json link show master br0 | jq -r '.[].ifname')
}
# As ssh_to, before the cluster has pinned a key.
first_login() {
  nsenter --net="$operator" ssh -q -i "$MACHINIST_SSH_KEY" -o UserKnownHostsFile="$farm/state/known_hosts" -o BatchMode=yes \
    "root@${ip[$1]}" "$2"
}

write_machines() {
  local node
  {
    echo "{ cluster = { name = \"$trial\"; operators = import ./operators.nix; ${even:-} };"
    echo "  network = { nodes = \"10.99.7.0/24\"; control.backend = \"$backend\"; };"
    for node in "$@"; do
      echo "  machines.$node = { ip = \"${inner[$node]}\"; roles = [ \"etcd\" ]; disk = \"/dev/vda\"; ssh.host = \"${ip[$node]}\";"
      if [ "$node" = n3 ] || [ "$node" = n4 ]; then echo "    endpoint = \"none\"; };"; else echo "    endpoint = \"${public[$node]}\"; };"; fi
    done
    echo "}"
  } >"$cluster/machines.nix"
  mkdir -p "$cluster/nodes"
  for node in "$@"; do
    # The machines are containers, which the sandbox has connected.
    cp "$project/tests/cluster/control-mesh-cluster/$backend.nix" "$cluster/nodes/$node.nix"
  done
  git -C "$cluster" add --all
}

network_end() {
  local name
  for name in "${internet:-}" "${home:-}"; do [ -z "$name" ] || ip netns delete "$name" 2>/dev/null; done
}

m() {
  outside env PATH="$project/tests/stand-ins:$PATH" machinist -C "$cluster" "$@"
}
trial_finish() {
  network_end
  farm_end
}
pids() { # UNIT NODE...
  local node
  for node in "${@:2}"; do echo "$node $(on "$node" systemctl show --property=MainPID --value "$1")"; done
}
are_active() { # UNIT NODE...
  local node
  for node in "${@:2}"; do on "$node" systemctl is-active "$1"; done | xargs
}
healthy_members() {
  m etcd members --json 2>/dev/null | jq '[.members[] | select(.state | startswith("healthy"))] | length'
}
pings() { # NODE ADDRESS
  inside "$1" ping -c 1 -W 2 "$2" >/dev/null 2>&1 && echo yes || echo no
}
# Writes at the members' addresses in the mesh, from the network of one of them.
ledger_inside() {
  local operator=${namespaces[n1]} node
  local -A ip
  for node in "${nodes[@]}"; do ip[$node]=${inner[$node]}; done
  ledger_begin "$1" client
}
capture() {
  in_background "/run/netns/$internet" "$here/tcpdump" tcpdump -n -i any -U -w "$here/$1.pcap"
  capturing=$last
  wait_until 10 grep -q listening "$here/tcpdump" || fail "tcpdump listens" "$(cat "$here/tcpdump")"
}
captured() { # NAME FILTER: the number of packets
  tcpdump -n -r "$here/$1.pcap" "$2" 2>/dev/null | wc -l
}
ends_of() { # NAME: addresses and ports that packets were sent from and to
  tcpdump -nn -r "$here/$1.pcap" ip 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+){3,4}[ :]' | tr -d ' :' | sort -u
}
install_and_plug() {
  local node
  for node in "$@"; do
    must "$node is installed" 0 'answers with its pinned host key' m install "$node" --yes --ignore "$not_of_machines"
    plug "$node"
  done
}

mesh_begins() {
  network_begin "${nodes[@]}"
  must "the cluster's directory" 0 '' machinist init "$cluster" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  write_machines "${nodes[@]}"
  mkdir -p "$cluster/state"
  cp "$farm/state/known_hosts" "$cluster/state/known_hosts"
  must "certificates, and a key for each node" 0 '' m certs gen
  capture all
  install_and_plug "${nodes[@]}"
  equal "a machine comes up with the mesh at its first boot" "$(on n1 systemctl is-active "${unit[$backend]}" machinist-control-interface | xargs)" 'active active'
  # A deploy does nothing while it starts anywhere.
  eventually "etcd runs on each" 60 'active active active' are_active etcd "${nodes[@]}"
  must "deploy" 0 'etcd healthy' m deploy --all
  ledger_client client
}
networks_are_apart() {
  echo "-- the networks"
  equal "two members reach each other's public addresses by the router" "$(pings n1 "${public[n2]}")" yes
  equal "and have no link in common" "$(pings n1 "${ip[n2]}")" no
  equal "nobody reaches the one behind NAT" "$(pings n1 "${public[n3]}")" no
  equal "in the mesh all reach each other" "$(pings n1 "${inner[n2]}") $(pings n1 "${inner[n3]}") $(pings n3 "${inner[n2]}")" 'yes yes yes'
  for node in "${nodes[@]}"; do
    without "etcd of $node listens in the mesh and on loopback, not on a public address" "${inner[$node]}:2380" \
      "(${public[$node]}|${ip[$node]}|0\.0\.0\.0|\*|\[::\]):23" inside "$node" ss -Hltn '( sport = :2379 or sport = :2380 )'
  done
  equal "node to node, SSH answers in the mesh" "$(inside n3 timeout 5 bash -c "exec 3<>/dev/tcp/${inner[n1]}/22; head -c 4 <&3")" SSH-
}
only_the_mesh_is_on_the_way() {
  echo "-- on the way"
  kill "$capturing"
  wait "$capturing" 2>/dev/null
  check_exit "the mesh's packets pass the router" 0 '^[1-9][0-9]+$' captured all "port ${port[$backend]}"
  without "no packet of etcd does, nor one between addresses of the mesh" "\\.${port[$backend]}$" '\.(2379|2380)$|^10\.99\.7\.' ends_of all
  # NixOS' own filter of return paths would drop it before, unless it is loose or switched off.
  on n1 nft insert rule inet nixos-fw rpfilter accept
  before=$(on n1 nft list table inet machinist-control | grep -o 'packets [0-9]*')
  ip -n "$internet" address add "${inner[n2]}/32" dev lo
  ip -n "$internet" route add "${inner[n1]}/32" via "${public[n1]}" dev n1 src "${inner[n2]}"
  nsenter --net="/run/netns/$internet" timeout 2 bash -c "echo x >/dev/udp/${inner[n1]}/2379"
  changed "a packet from outside that claims to be a member's is dropped" "$before" \
    on n1 'nft list table inet machinist-control | grep -o "packets [0-9]*"'
  on n1 systemctl restart nftables
  ip -n "$internet" route del "${inner[n1]}/32"
  ip -n "$internet" address del "${inner[n2]}/32" dev lo
}
keys_of() { # NODE: the keys that it accepts
  on "$1" "cat /etc/machinist/pki/control-$backend-*.pub" | grep -v '^-'
}
keys_are_rotated() {
  local first before
  echo "-- new keys"
  ledger_inside rotation
  first=$(keys_of n2)
  check_exit "each node has a second key" 0 'which the others will accept' m certs rotate-control
  check_exit "nothing goes on before that is deployed" 3 'does not trust' m certs rotate-control
  before=$(pids etcd "${nodes[@]}")
  check_exit "deploy" 0 'etcd healthy' m deploy --all
  equal "a node accepts two keys of each" "$(keys_of n2 | wc -l)" 6
  check_exit "each node uses its new key" 0 'uses its new key' m certs rotate-control
  check_exit "deploy, one member after the other" 0 'etcd healthy' m deploy --all
  check_exit "only the new ones are accepted" 0 'only the new keys' m certs rotate-control
  check_exit "deploy" 0 'etcd healthy' m deploy --all
  ledger_end rotation "writes go on all the time, and none is lost" 30
  equal "etcd was not restarted" "$(pids etcd "${nodes[@]}")" "$before"
  changed "all keys are others" "$first" keys_of n2
  equal "one of each node" "$(keys_of n2 | wc -l)" 3
  check_exit "nothing is left to do" 0 '^0 changed, 3 unchanged' m deploy --all
}
