# shellcheck shell=bash
# The overlay of a mesh: the node's address, flannel's unit, and what of it the others can reach.

equal "a node with an overlay evaluates" .overlay.failed '[]'
check "its address exists without flannel, and subnets without a route are unreachable" \
  '.overlay.own.ExecStart | (.[0] | endswith("address replace 10.10.3.1/32 dev lo scope global")) and
    (.[1] | endswith("route replace unreachable 10.10.0.0/16 metric 4096"))' .overlay.own
equal "the file with all subnets is not a machine" .systems '["balthazar", "casper", "melchior"]'
equal "it knows the addresses of the others" .overlay.nodes '{w1: {ip: "10.10.9.1", subnet: "10.10.9.0/24"}}'
check "flannel takes the part that machines.nix gives it" \
  '.overlay.preStart | contains("FLANNEL_SUBNET=10.10.3.1/24") and contains("FLANNEL_NETWORK=10.10.0.0/16")' .overlay.preStart
check "and writes no configuration into etcd (facts 8.1.8)" '.overlay.preStart | contains("etcdctl") | not' .overlay.preStart
check "it speaks to etcd as itself" '.overlay.unit |
  any(. == "Environment=\"FLANNELD_ETCD_ENDPOINTS=https://10.13.13.2:2379\"") and
  any(. == "Environment=\"FLANNELD_ETCD_KEYFILE=/run/credentials/flannel.service/mesh-flannel.key\"") and
  any(startswith("LoadCredential=mesh-flannel.key:/var/lib/machinist/keys/"))' .overlay.unit
check "the interface is named (facts: the default is that of the default route)" '.overlay.unit |
  any(. == "Environment=\"FLANNELD_IFACE=10.13.13.3\"") and any(. == "Environment=\"FLANNELD_PUBLIC_IP=10.13.13.3\"")' .overlay.unit
check "WireGuards key stays where it is over restarts, and roots" '.overlay.unit |
  any(. == "Environment=\"WIREGUARD_KEY_FILE=/var/lib/machinist-overlay/wireguard.key\"") and any(. == "StateDirectoryMode=0700")' .overlay.unit
check "the kernel's module is loaded" '.overlay.modules | index("wireguard") != null' .overlay.modules
check "a deploy waits for its part" '.overlay.gates | index("overlay") != null' .overlay.gates
check "its ports are open to the nodes" '.overlay.firewall.wireguard |
  any(. == "ip saddr { 10.13.13.0/24 } udp dport 51820 accept comment \"overlay-wireguard\"") and
  any(. == "ip saddr { 10.13.13.0/24 } udp dport 8472 accept comment \"overlay-vxlan\"")' .overlay.firewall.wireguard
equal "a tunnel without authentication is open to the cluster's own nodes alone" .overlay.peers \
  '["ip saddr { 10.13.13.3, 10.13.13.4 } udp dport 8472 accept comment \"overlay-vxlan\""]'
for backend in wireguard vxlan; do
  check "$backend: packets to its addresses from outside it are dropped, even a ping" ".overlay.nftables.$backend |
    contains(\"type filter hook input priority filter - 10\") and
    contains(\"ip daddr 10.10.0.0/16 iifname != { \\\"lo\\\", \\\"flannel-wg\\\", \\\"flannel.1\\\" } drop\")" ".overlay.nftables.$backend"
done
equal "plain routes come by the nodes' network" '.overlay.nftables["host-gw"]' null
equal "devices and routes of another backend are removed: they would carry packets in the clear" .overlay.stopped '{
  wireguard: ["link delete flannel.1", "route flush root 10.10.0.0/16 type unicast"],
  vxlan: ["link delete flannel-wg"], "host-gw": ["link delete flannel-wg", "link delete flannel.1"]}'
equal "a flannel without its device that does not end is ended, also by the system of the next backend" .overlay.watch \
  '{wireguard: true, vxlan: true, "host-gw": true}'
check "and one that is stopped in ten seconds" '.overlay.unit | any(. == "TimeoutStopSec=10s")' .overlay.unit
check "instances are open to the overlay" '.overlay.firewall.wireguard |
  any(. == "ip saddr { 10.10.0.0/16, 10.13.13.0/24 } tcp dport 8080 accept comment \"mesh-web\"")' .overlay.firewall.wireguard
check "a database accepts connections from it" '.overlay.postgresql | contains("host all all 10.10.0.0/16 scram-sha-256")' .overlay.postgresql
equal "instances listen in the overlay" .overlay.instance '"10.10.3.1"'
equal "unless it is only being introduced" .overlay.instanceBefore '"10.13.13.3"'
