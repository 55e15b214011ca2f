# services.etcd, its unit, its keys.

# The names and values are those of nixpkgs' nixos/modules/services/databases/etcd.nix.
equal "etcd gets the environment that nixpkgs' module gives" \
  '.nodes.balthazar.etcd | with_entries(select(.key | test("CERT_FILE|CA_FILE|^LANG|^LOCALE|^PATH|^TZDIR") | not))' '{
    ETCD_ADVERTISE_CLIENT_URLS: "https://10.13.13.2:2379",
    ETCD_AUTO_COMPACTION_MODE: "periodic",
    ETCD_AUTO_COMPACTION_RETENTION: "1h",
    ETCD_CLIENT_CERT_AUTH: "1",
    ETCD_DATA_DIR: "/var/lib/etcd",
    ETCD_DISCOVERY: "",
    ETCD_INITIAL_ADVERTISE_PEER_URLS: "https://10.13.13.2:2380",
    ETCD_INITIAL_CLUSTER: "balthazar=https://10.13.13.2:2380",
    ETCD_INITIAL_CLUSTER_STATE: "existing",
    ETCD_INITIAL_CLUSTER_TOKEN: "magi",
    ETCD_KEY_FILE: "/run/credentials/etcd.service/etcd-server.key",
    ETCD_LISTEN_CLIENT_URLS: "https://10.13.13.2:2379,https://127.0.0.1:2379",
    ETCD_LISTEN_METRICS_URLS: "http://127.0.0.1:2381",
    ETCD_LISTEN_PEER_URLS: "https://10.13.13.2:2380",
    ETCD_NAME: "balthazar",
    ETCD_PEER_CERT_ALLOWED_CN: "kube-etcd-peer",
    ETCD_PEER_CLIENT_CERT_AUTH: "1",
    ETCD_PEER_KEY_FILE: "/run/credentials/etcd.service/etcd-peer.key",
    ETCD_QUOTA_BACKEND_BYTES: "8589934592"
  }'

check "each public certificate is a separate store file, named after its purpose" '
  .nodes.balthazar.etcd
  | (.ETCD_CERT_FILE | test("^/nix/store/[a-z0-9]{32}-etcd-server.pem$"))
    and (.ETCD_PEER_CERT_FILE | test("^/nix/store/[a-z0-9]{32}-etcd-peer.pem$"))
    and (.ETCD_TRUSTED_CA_FILE | test("^/nix/store/[a-z0-9]{32}-etcd-ca.pem$"))
    and .ETCD_TRUSTED_CA_FILE == .ETCD_PEER_TRUSTED_CA_FILE' .nodes.balthazar.etcd

check "keys reach etcd as credentials, from their content-addressed files" '
  .nodes.balthazar.unit.serviceConfig.LoadCredential
  | length == 2
    and (.[0] | test("^etcd-server.key:/var/lib/machinist/keys/etcd-server-[0-9a-f]{16}.key$"))
    and (.[1] | test("^etcd-peer.key:/var/lib/machinist/keys/etcd-peer-[0-9a-f]{16}.key$"))' \
  .nodes.balthazar.unit.serviceConfig.LoadCredential

check "no key is in the store" '.keyInStore == false'

peers=balthazar=https://10.13.13.2:2380,casper=https://10.13.13.4:2380,melchior=https://10.13.13.3:2380
equal "members and recorded state reach etcd by a file in /etc" .nodes.balthazar.envFile \
  "\"ETCD_INITIAL_CLUSTER=$peers\\nETCD_INITIAL_CLUSTER_STATE=new\\n\""
check "the unit reads that file and does not start without it" \
  '.nodes.balthazar.unit.serviceConfig.EnvironmentFile == "/etc/machinist/etcd.env"'
check "a member that crashed is back soon" '.nodes.balthazar.unit.serviceConfig.RestartSec == "5s"' .nodes.balthazar.unit.serviceConfig
check "recording the bootstrap changes the file and nothing of the unit" '
  (.variants.bootstrapped.envFile | endswith("\nETCD_INITIAL_CLUSTER_STATE=existing\n"))
  and .variants.bootstrapped.etcd == .nodes.balthazar.etcd
  and .variants.bootstrapped.unit == .nodes.balthazar.unit' .variants.bootstrapped.envFile

check "a joining member changes the other members' file, not their unit, and is in its own only" '
  (.variants.joining.envFile | contains("casper") | not)
  and .variants.joining.unit == .nodes.balthazar.unit
  and (.variants.joins.envFile | startswith("ETCD_INITIAL_CLUSTER=balthazar=https://10.13.13.2:2380,melchior="))' .variants.joining.envFile

check "etcd waits for the network and for the check of its keys, and is bound to a restore alone" '
  .nodes.balthazar.unit
  | (.after | contains(["network-online.target", "machinist-keys.service"]))
    and (.wants | contains(["network-online.target", "machinist-keys.service"]))
    and .requires == ["machinist-etcd-restore.service"]' .nodes.balthazar.unit

check "the check of keys names each key of the node" '
  .nodes.balthazar.keyCheck
  | contains("etcd-server-") and contains("etcd-peer-") and contains("etcd-healthcheck-client-")
    and contains("machinist deploy balthazar")' .nodes.balthazar.keyCheck
check "only root can enter the directory of keys" '
  .nodes.balthazar.tmpfiles | index("d /var/lib/machinist/keys 0700 root root -") != null' .nodes.balthazar.tmpfiles
check "operators of a node get machinist-etcdctl" '.nodes.balthazar.packages | index("machinist-etcdctl") != null'

check "an IPv6 member is written in brackets" '
  .variants.ipv6.etcd
  | .ETCD_LISTEN_CLIENT_URLS == "https://[fd13::2]:2379,https://127.0.0.1:2379"
    and (.ETCD_INITIAL_CLUSTER | contains("balthazar=https://[fd13::2]:2380"))' .variants.ipv6.etcd

# casper has no certificates yet.
only "missing certificates are named in one warning, with the commands that create them" .nodes.casper.warnings \
  "machinist.pki of casper is missing etcd-healthcheck-client, etcd-server, etcd-peer, etcd-ca" \
  'Run `machinist certs gen` and `machinist generate`.'
check "without certificates etcd still has TLS on, and points at files that do not exist" '
  .nodes.casper
  | .etcd.ETCD_CLIENT_CERT_AUTH == "1" and .etcd.ETCD_PEER_CLIENT_CERT_AUTH == "1"
    and .etcd.ETCD_CERT_FILE == "/var/lib/machinist/absent/etcd-server.pem"
    and .etcd.ETCD_TRUSTED_CA_FILE == "/var/lib/machinist/absent/etcd-ca.pem"
    and (.etcd.ETCD_LISTEN_CLIENT_URLS | contains("http://") | not)
    and .unit.serviceConfig.LoadCredential[0] == "etcd-server.key:/var/lib/machinist/absent/etcd-server.key"' \
  .nodes.casper.etcd
equal "a node with all its certificates warns of nothing" '.nodes.balthazar.warnings' '[]'
equal "public certificates are linked below /etc/machinist" .nodes.balthazar.etc '[
  "machinist/boot-fallback", "machinist/etcd.env", "machinist/pki/etcd-ca.pem", "machinist/pki/etcd-healthcheck-client.pem",
  "machinist/pki/etcd-peer.pem", "machinist/pki/etcd-server.pem", "machinist/pki/ssh_host_ed25519_key-cert.pub" ]'

only "a node that is missing from its cluster's members is refused" .failed.notAMember \
  "machinist.etcd.members of balthazar" "10.13.13.9" 'role "etcd"'
equal "a node that is not a member has no etcd, no keys and no firewall rules for it" .worker '{
  failed: [], warnings: [], units: ["machinist-certificates"],
  firewall: "ip saddr { 10.13.13.0/24 } tcp dport 7080 accept comment \"fan-out\"" }'
only "opening etcd to the world is refused" .failed.openFirewall \
  "services.etcd.openFirewall is true on balthazar" "machinist.etcd.clients"
check "in a mesh no client fills the database for all: each client's rate is limited" '.limited | (.[0] == null) and (.[1] |
  contains("elements = { 10.13.13.20 }") and contains("elements = { fd13::20 }") and
  contains("ip saddr @clients4 tcp dport 2379 update @sent4 { ip saddr limit rate over 262144 bytes/second burst 8 mbytes } drop") and
  contains("ip6 saddr @clients6 tcp dport 2379 update @sent6"))' .limited
