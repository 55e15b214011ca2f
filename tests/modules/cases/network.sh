# Firewall, addresses, names, SSH.

equal "2379 is open to members and clients, 2380 to members only, 7080 to the nodes' network" .nodes.casper.firewall '[
  "ip saddr { 10.13.13.2, 10.13.13.20, 10.13.13.21, 10.13.13.3, 10.13.13.4 } tcp dport 2379 accept comment \"etcd-clients\"",
  "ip saddr { 10.13.13.2, 10.13.13.3, 10.13.13.4 } tcp dport 2380 accept comment \"etcd-peers\"",
  "ip saddr { 10.13.13.0/24 } tcp dport 7080 accept comment \"fan-out\"" ]'
check "IPv4 and IPv6 sources get separate rules" '
  .variants.ipv6.firewall
  | (map(select(startswith("ip6 saddr { fd13::2 } tcp dport 2380"))) | length == 1)
    and (map(select(startswith("ip saddr { 10.13.13.3, 10.13.13.4 } tcp dport 2380"))) | length == 1)' \
  .variants.ipv6.firewall
check "etcd is in no rule without sources" '.nodes.casper.openPorts == [22] and .nodes.melchior.openPorts == [2222]'
check "nftables is the backend, since the source rules need it" '.nodes.balthazar.nftables'
only "the iptables backend is refused while there are source rules" .failed.iptables \
  "networking.nftables.enable is false on balthazar" "etcd-clients, etcd-peers"

equal "an interface gets the node's addresses of both families" .nodes.balthazar.addresses '{ enp2s0: {
  v4: [ { address: "10.13.13.2", prefixLength: 24 } ], v6: [ { address: "fd13::2", prefixLength: 64 } ] } }'
equal "the gateway belongs to the interface" .nodes.balthazar.gateway '"10.13.13.1"'
equal "a server without DHCP has each interface by its MAC address, and a gateway on the public one" \
  .variants.droplet.networkd '{
  "40-machinist-aabbcc000001": { matchConfig: { MACAddress: "aa:bb:cc:00:00:01", Type: "ether" },
    address: [ "203.0.113.5/20", "2001:db8::5/64" ], gateway: [ "203.0.113.1", "2001:db8::1" ],
    networkConfig: { IPv6AcceptRA: false } },
  "40-machinist-aabbcc000002": { matchConfig: { MACAddress: "aa:bb:cc:00:00:02", Type: "ether" },
    address: [ "10.13.13.2/24" ], gateway: [ ], networkConfig: { IPv6AcceptRA: false } } }'
check "nothing asks for a lease there, and the provider resolves names" '
  .variants.droplet | .useDHCP == false and .nameservers == ["67.207.67.2", "67.207.67.3"]' .variants.droplet.nameservers
equal "other machines have no such interface" .nodes.balthazar.networkd '{}'
equal "a machine of the sandbox keeps the address it was made with" .nodes.melchior.addresses '{}'
check "names of the facts are in /etc/hosts" '
  .nodes.balthazar.hosts["10.13.13.4"] == ["casper.magi.internal", "casper"]' .nodes.balthazar.hosts
only "setting an address without an interface is refused" .failed.noInterface \
  "machinist.network.configure is true on balthazar" '`interface`'

equal "operators log in as root with their keys" '.nodes.balthazar.authorizedKeys | length' 1
check "sshd takes keys only" '
  .nodes.casper.ssh
  | .PasswordAuthentication == false and .PermitRootLogin == "prohibit-password" and .ports == [22]
    and .authorizedKeysInHomedir == false' .nodes.casper.ssh
check "sshd presents the certificate of its host key by its store path, if there is one" '
  (.nodes.balthazar.ssh.certificate | test("^/nix/store/[a-z0-9]+-ssh_host_ed25519_key-cert.pub$")) and .nodes.casper.ssh.certificate == null' \
  '.nodes | map_values(.ssh.certificate)'
equal "sshd listens on the port of machines.nix" .nodes.melchior.ssh.ports '[2222]'
check "users are immutable as long as an operator can log in" '
  .nodes.balthazar.mutableUsers == false and .variants.noOperators.mutableUsers == true'
only "a node without operators warns, and says where they go" .variants.noOperators.warnings \
  "machinist.operators is empty on balthazar" "cluster.operators in machines.nix"
only "an sshd that the next deployment cannot reach is refused" .failed.otherPort \
  "services.openssh.ports of balthazar does not contain 22" "ssh.port"

check "a member that moves listens on both addresses, advertises the one in use, and admits both" '
  .variants.moving
  | (.etcd.ETCD_LISTEN_PEER_URLS == "https://10.13.13.2:2380,https://10.13.13.9:2380")
    and (.etcd.ETCD_LISTEN_CLIENT_URLS | contains("https://10.13.13.9:2379"))
    and (.etcd.ETCD_ADVERTISE_CLIENT_URLS == "https://10.13.13.2:2379")
    and ([.firewall[] | select(contains("10.13.13.9"))] | length == 2)' .variants.moving.etcd
check "its unit adds both after the interface has its own, and before etcd" '
  .variants.moving.addressesUnit
  | (.after | index("network-addresses-enp2s0.service")) and (.before | index("etcd.service"))
    and (.script | contains("address=10.13.13.2 second=10.13.13.9"))' .variants.moving.addressesUnit
equal "no other node has that unit" .nodes.balthazar.addressesUnit null
