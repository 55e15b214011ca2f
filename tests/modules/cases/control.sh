# shellcheck shell=bash
# The control mesh: its interface, tinc and WireGuard behind it, and what it opens.

equal "nodes of a control mesh evaluate" .control.failed '[]'
equal "without one there is no interface" .control.without false
for backend in tinc wireguard; do
  check "$backend: the interface and its address are there before the network's services" \
    ".control.interface.$backend | (.before | index(\"network.target\") != null) and
      (.script | contains(\"address replace 10.13.13.3/24 dev control\") and contains(\"mtu 1400 up\"))" ".control.interface.$backend"
  check "$backend: it is not there before the firewall" \
    ".control.interface.$backend.after | index(\"network-pre.target\") != null" ".control.interface.$backend.after"
  equal "$backend: nothing takes it away again" ".control.interface.$backend.stop" false
done
check "tinc attaches to an interface that outlives it" '.control.interface.tinc.script | contains("tuntap add dev control mode tun")' .control.interface.tinc
equal "etcd listens in the mesh alone" .control.listens '["https://10.13.13.3:2380"]'
equal "while keys are rotated, a node has two names in tinc" .control.hosts \
  '["tinc/control/hosts/a_b_dddddddddddddddd", "tinc/control/hosts/balthazar_bbbbbbbbbbbbbbbb",
    "tinc/control/hosts/balthazar_cccccccccccccccc", "tinc/control/hosts/melchior_aaaaaaaaaaaaaaaa"]'
check "a node takes the name of its key, and connects to all that can be reached" '.control.conf |
  any(. == "Name=melchior_aaaaaaaaaaaaaaaa") and any(. == "ConnectTo=balthazar_bbbbbbbbbbbbbbbb") and
  any(. == "ConnectTo=balthazar_cccccccccccccccc") and (any(startswith("ConnectTo=a_b")) | not)' .control.conf
check "nobody may claim the address of another node" '.control.conf | any(. == "StrictSubnets=yes")' .control.conf
check "a node that is away is tried again within seconds" '.control.conf | any(. == "MaxTimeout=5")' .control.conf
check "the others know a node by its key, its endpoint and its address" '.control.host |
  any(. == "Address=vpn.example.org 655") and any(. == "Subnet=10.13.13.2#10") and
  any(. == "Ed25519PublicKey=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")' .control.host
check "one behind NAT has no address to connect to" '.control.hidden | any(startswith("Address")) | not' .control.hidden
equal "no file that root reads belongs to tinc's user" '.control.owners | map(select(startswith("tinc")))' '[]'
equal "no key of tinc's old protocol is made" .control.preStart '""'
check "the private key is a credential" '.control.unit |
  any(. == "LoadCredential=control-of-10-13-13-3.key:/var/lib/machinist/keys/control-1.key")' .control.unit
check "that of WireGuard, too" '.control.wireguardUnit |
  any(. == "LoadCredential=control-of-10-13-13-3.key:/var/lib/machinist/keys/control-1.key")' .control.wireguardUnit
equal "a node shows which keys of others it accepts" .control.public \
  '["machinist/pki/control-of-10-13-13-2.pub", "machinist/pki/control-of-10-13-13-3.pub", "machinist/pki/control-of-10-13-13-4.pub"]'
equal "tinc's port is open, and WireGuard's for UDP alone" .control.ports \
  '{tinc: {tcp: true, udp: true}, wireguard: {tcp: false, udp: true}}'
check "without nftables, which drops forged packets, there is no mesh" '.control.withoutNftables |
  any(contains("nothing drops packets that come from outside"))' .control.withoutNftables
check "packets with an address of the mesh come from the mesh" '.control.nftables |
  contains("ip saddr 10.13.13.0/24 iifname != { \"lo\", \"control\" } counter drop")' .control.nftables
check "a node without keys warns, and says what to run" '.control.withoutKeys |
  any(contains("has no keys") and contains("machinist certs gen"))' .control.withoutKeys
