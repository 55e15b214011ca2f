# A Router that machinist deploys.

check "a Router of ours is without failed assertions and warnings" '.router.ours | .failed == [] and .warnings == []' '.router.ours | {failed, warnings}'
equal "its sessions are those that router-config prints for BIRD" '.router.open.bird | .[index("filter machinist_vip"):]' \
  "$(sed -n '/^filter machinist_vip/,$p' "$here/router/bird.conf" | jq -Rs .)"
check "with a pool it accepts single addresses of Services" '
  .router.services.bird | contains("then accept;\n  if net ~ [ 10.13.101.0/24{32,32}, 10.13.102.7/32{32,32} ] then accept;\n  reject;\n")' .router.services.bird
check "it uses all routes at once, and neither accepts nor exports others" '
  .router.ours.bird | contains("merge paths on;\n  scan time 1;") and contains("export where source = RTS_BGP;") and contains("import none;")' .router.ours.bird
check "the password is in the text by the name of its file, which bird writes for itself at its start" '
  .router.ours | (.bird | contains("hold time 4;\n  include \"password.conf\";\n  ipv4 {")) and .password == "/run/bird/password.conf"
    and (.unit.preStart | contains("umask 0377") and contains(">/run/bird/password.conf"))
    and .unit.credentials == ["bgp-password.key:/var/lib/machinist/keys/bgp-password-78acbff6d774cacf.key"]' .router.ours.unit
check "the text can be checked where it is built, without the password" '.router.ours.preCheckConfig | contains(">password.conf")'
check "a Router without a password has none" '.router.open | .password == null and .unit.credentials == [] and .preCheckConfig == ""' .router.open
equal "only control planes may speak BGP to it" '.router.ours.firewall | map(select(contains("179")))' \
  '["ip saddr { 10.13.13.2, 10.13.13.3, 10.13.13.4 } tcp dport 179 accept comment \"bgp\""]'
check "BGP is open to no other address" '.router.ours.openTcp | index(179) | not' .router.ours.openTcp
check "a deploy waits for its sessions" '.router.ours.gates | test("(^|\n)router 60 /nix/store/[^\n]*-gate-router\n")' .router.ours.gates
check "it forwards, balanced per connection, and redirects no host to a single control plane" '
  .router.ours.sysctl | .["net.ipv4.conf.all.forwarding"] == true and .["net.ipv4.fib_multipath_hash_policy"] == 1
    and .["net.ipv4.conf.*.send_redirects"] == 0' .router.ours.sysctl
check "the user's setting of forwarding takes precedence" '.router.nat | .failed == [] and .sysctl["net.ipv4.conf.all.forwarding"] == 1'
check "it runs neither etcd nor a kubelet" '.router.ours | .etcd == false and .kubernetes == false'
only "a virtual address of another family is refused" .router.refused.family "different families" "kubeMaster.ip"
