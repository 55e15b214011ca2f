# The restore of etcd from a snapshot: its script runs here, with an etcdutl that writes what the snapshot holds.

restore=$work/restore
mkdir -p "$restore/bin" "$restore/data" "$restore/request"
cat >"$restore/bin/etcdutl" <<'END'
#!/bin/sh
# snapshot restore FILE ... --data-dir DIRECTORY ...
file=$3
while [ $# -gt 0 ]; do
  [ "$1" != --data-dir ] || { mkdir -p "$2/member" && cp "$file" "$2/member/data"; }
  shift
done
END
chmod +x "$restore/bin/"*
# The script of the unit, then what root does after its success: the store's paths are left out of that.
script=$(jq -r '.nodes.balthazar.restore | "(\(.script)) || exit\n" + (.after | map(sub("^[+]/[^ ]*/bin/"; "")) | join("\n"))' "$work/out.json" |
  sed -e "s,/var/lib/machinist/etcd-restore,$restore/request,g" -e "s,cd /var/lib/etcd,cd $restore/data,")
# request MARK CONTENT: what `machinist etcd restore` leaves on a member. carry_out: the start of etcd.
request() {
  printf '%s' "$2" >"$restore/request/etcd.db"
  printf 'RESTORE_MARK=%s\nRESTORE_BUMP=1\nRESTORE_SHA256=%s\n' "$1" "$(printf '%s' "$2" | sha256sum | cut -d ' ' -f 1)" \
    >"$restore/request/ready"
}
carry_out() {
  (
    set -a
    # shellcheck source=/dev/null
    . "$restore/request/ready"
    ETCD_INITIAL_CLUSTER=a=https://10.0.0.1:2380
    PATH=$restore/bin:$PATH bash -c "$script" 2>&1
  )
}
now() {
  (cd "$restore" && echo "$(cat data/member/data) $(ls request | tr '\n' ' ')$(cd data && ls -d member.before-* 2>/dev/null | tr '\n' ' ')")
}
said() { # SENTENCE ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then report ok "$1"; else report no "$1" "got:    $2
wanted: $3
$output"; fi
}
mkdir -p "$restore/data/member" && echo before >"$restore/data/member/data"
request m1 snapshot
output=$(carry_out)
said "a request is carried out once, and the data from before is kept" "$(now)" "snapshot member.before-m1 "

echo newer >"$restore/data/member/data"
request m1 snapshot
output=$(carry_out)
said "a request whose removal was lost does not restore an old snapshot over newer data" "$(now)" "newer member.before-m1 "

request m2 other
output=$(carry_out)
said "another restore is carried out as ever" "$(now)" "other member.before-m1 member.before-m2 "

# Cut off between the two moves, and again after data was put aside under the name of this restore.
mv "$restore/data/member" "$restore/data/member.before-m3"
request m3 third
output=$(carry_out)
said "a restore that was cut off between its two moves is carried out" "$(cat "$restore/data/member/data")" third
rm "$restore/data/member/machinist-restore"
request m3 fourth
output=$(carry_out)
said "data that was put aside is never overwritten" "$(cat "$restore"/data/member.before-m3*/data)" thirdother
