# The check of certificates' expiry: its script runs here, on certificates of this test.

check "a timer checks certificates each day, and a boot or an activation does too" '
  .nodes.balthazar.expiry | .timer.OnCalendar == "daily" and .timer.Persistent and .wantedBy == ["multi-user.target"]' \
  .nodes.balthazar.expiry
check "a plan knows it as a unit that ends" '
  .nodes.balthazar.expiry.serviceConfig | .Type == "oneshot" and (has("RemainAfterExit") | not)' .nodes.balthazar.expiry.serviceConfig

check "the certificate of the host key is checked with the others" '
  .nodes.balthazar.expiry.script | test("check ssh-host /nix/store/[a-z0-9]+-ssh_host_ed25519_key-cert.pub")' .nodes.balthazar.expiry.script

expiry=$work/expiry
mkdir -p "$expiry"
# certificate NAME DAYS
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -days "$2" \
    -keyout "$expiry/key" -out "$expiry/$1.pem" 2>/dev/null
}
certificate long 400
certificate short 10
openssl x509 -in "$expiry/long.pem" -noout -enddate >/dev/null || report no "openssl makes certificates" ""
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >"$expiry/broken.pem"
# An authority that is rotated has two in a file: the first to end counts.
cat "$expiry/long.pem" "$expiry/short.pem" >"$expiry/both.pem"

# checked PATTERN: the script of a node with these files, with its own certificates and paths replaced by this test's.
checked() {
  local script
  script=$(jq -r .variants.moreCertificates.expiry.script "$work/out.json" | sed \
    -e '/^ *check .*\/nix\/store/d' -e "s,/var/lib/acme/\*/cert.pem,$expiry/$1,g" -e "s,/var/lib/machinist/metrics,$expiry/metrics,g")
  bash -c "$script" 2>&1
  echo "status $?"
}
metric() {
  sed -n "s,^machinist_certificate_not_after_timestamp_seconds{name=\"$expiry/$1\"} ,,p" "$expiry/metrics/machinist_certificates.prom"
}
end() {
  date --date="$(openssl x509 -in "$expiry/$1" -noout -enddate | cut -d= -f2)" +%s
}
said() { # SENTENCE ACTUAL EXPECTED
  if [ "$2" = "$3" ]; then report ok "$1"; else report no "$1" "got:    $2
wanted: $3"; fi
}
said "a certificate that ends in a year is not reported" "$(checked long.pem)" "status 0"
said "its end is a metric" "$(metric long.pem)" "$(end long.pem)"
said "a certificate that ends soon is a warning in the journal" "$(checked short.pem | sed -E "s, on [0-9-]*:.*, on DATE,; s,in (9|10) days,in 9 days,")" \
  "<4>certificate $expiry/short.pem expires in 9 days, on DATE
status 0"
said "of two in a file the first to end counts" "$(checked both.pem >/dev/null; metric both.pem)" "$(end short.pem)"
said "a certificate that cannot be read is a warning, and no expiry today" "$(checked broken.pem)" \
  "<4>certificate $expiry/broken.pem cannot be read: $expiry/broken.pem
status 0"
said "and is counted" "$(grep '^machinist_certificates_unreadable ' "$expiry/metrics/machinist_certificates.prom")" \
  "machinist_certificates_unreadable 1"
said "the metric file is readable by node_exporter, and nothing else is left" \
  "$(stat --format=%a "$expiry/metrics/machinist_certificates.prom") $(find "$expiry/metrics" -type f | wc -l)" "644 1"
check "every certificate and authority of the node is checked" '
  .nodes.balthazar.expiry.script | (contains("check etcd-server /nix/store/") or contains("check '"'"'etcd-server'"'"' "))
  and (contains("etcd-ca"))' .nodes.balthazar.expiry.script
