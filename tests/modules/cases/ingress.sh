# shellcheck shell=bash
# The way into the mesh: what haproxy is told, who issues certificates, what is open.

equal "an ingress evaluates" .ingress.failed '[]'
equal "the longest path wins, and /api is not /apis" \
  '.ingress.configuration | [scan("use_backend app[^\n]* -i www[^\n]*")]' \
  '["use_backend app_api_8001 if { req.fhdr(host),host_only -i www.example.org example.org } { path /api }",
    "use_backend app_api_8001 if { req.fhdr(host),host_only -i www.example.org example.org } { path_beg /api/ }",
    "use_backend app_web_8000 if { req.fhdr(host),host_only -i www.example.org example.org } { path_beg / }"]'
equal "applications are reached through the mesh" \
  '.ingress.configuration | [scan("backend app_[^\n]*\n  http-reuse never\n  server [^\n]*")]' \
  '["backend app_api_8001\n  http-reuse never\n  server mesh 127.0.0.1:8001", "backend app_web_8000\n  http-reuse never\n  server mesh 127.0.0.1:8000"]'
equal "a host without TLS is the only one that is not redirected" \
  '.ingress.configuration | [scan("redirect scheme https code 308 if { req.fhdr\\(host\\),host_only -i ([^ ]+)")[0]]' \
  '["inside.example.org", "own.example.org", "try.example.org", "www.example.org"]'
check "a client's own headers are not passed on" \
  '.ingress.configuration | ([scan("http-request set-header X-Forwarded-(For|Proto|Host)")] | length == 6)
    and ([scan("http-request del-header [^\n]* -m reg\n")] | length == 4)' .ingress.configuration
equal "a request without exactly one host is refused before anything looks at it" \
  '.ingress.configuration | [scan("frontend https?\n(?:  bind [^\n]*\n)+  http-request deny deny_status 400 unless { req.fhdr_cnt")] | length' 2
equal "a line a certificate" '.ingress.certificates | rtrimstr("\n") | split("\n")' \
  '["/var/lib/acme/inside.example.org/full.pem inside.example.org", "/run/secrets/own.pem own.example.org", "/var/lib/acme/try.example.org/full.pem try.example.org",
    "/var/lib/acme/www.example.org/full.pem www.example.org example.org"]'
equal "staging, production and a private authority side by side" '.ingress.certs | map_values(.server)' \
  '{"inside.example.org": "https://ca.example.org/acme/acme/directory",
    "try.example.org": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "www.example.org": "https://acme-v02.api.letsencrypt.org/directory"}'
equal "a certificate has all names, and a new one is taken over by a reload" '.ingress.certs["www.example.org"] | del(.server)' \
  '{extraDomainNames: ["example.org"], group: "machinist-ingress", listenHTTP: "127.0.0.1:9481",
    reloadServices: ["machinist-ingress.service"]}'
equal "an address of an authority is one by HTTPS" .ingress.refused '[true, true, false]'
equal "an unresolvable name does not block the orders of other hosts" \
  '.ingress.orders["www.example.org"] | del(.lego)' '{Restart: "on-failure", SuccessExitStatus: "10 11"}'
equal "and is ordered again, as all are" '.ingress.again | [(.script | [scan("for order in .*; do")]), .timer.OnUnitInactiveSec]' \
  '[["for order in acme-order-renew-inside.example.org acme-order-renew-try.example.org acme-order-renew-www.example.org; do"], "15min"]'
equal "orders by HTTP-01 share a port: lego is one that waits for the other" '.ingress.orders | map(.lego) | unique' '["lego"]'
check "with DNS-01 none waits" '.ingress.dns.orders | length == 3 and all(.lego | startswith("lego-"))' .ingress.dns.orders
equal "there is a certificate before haproxy starts" .ingress.wants \
  '["acme-inside.example.org.service", "acme-try.example.org.service", "acme-www.example.org.service"]'
check "challenges are answered before hosts are matched, by the node that ordered" '.ingress.configuration
  | (index("use_backend acme if") < index("use_backend app_"))
  and (split("\n") | map(select(contains("redirect scheme"))) | all(contains("!{ path_beg /.well-known/acme-challenge/ }")))
  and contains("server here 127.0.0.1:9481\n  server peer1 10.13.13.2:9482\n  server peer2 [fd13::4]:9482\n")
  and contains("retry-on conn-failure empty-response 404 503\n  retries 6\n")
  and contains("bind 10.13.13.3:9482\n")' .ingress.configuration
check "and handed on only to other ingress nodes" \
  '.ingress.firewall | contains("ip saddr { 10.13.13.2 } tcp dport 9482 accept") and contains("ip6 saddr { fd13::4 } tcp dport 9482 accept")' \
  .ingress.firewall
equal "only HTTP and HTTPS are open to all" '.ingress.ports | map(select(. == 80 or . == 443))' '[80, 443]'
check "each family has its listener, so that applications see the addresses of clients as they are" '.ingress.configuration
  | contains("bind :80\n  bind [::]:80 v6only\n") and contains("bind :443 ssl crt-list") and contains("bind [::]:443 v6only ssl crt-list")' \
  .ingress.configuration
equal "clients never share a connection to an application, and so not one instance" \
  '.ingress.configuration | [scan("backend app_[^\n]*\n  http-reuse never")] | length' 2
check "a reload closes no connection before its answer" '.ingress.configuration | contains("option idle-close-on-response")' .ingress.configuration
equal "a deploy never restarts it" .ingress.reloadIfChanged true
equal "it runs as its own user" .ingress.user '"machinist-ingress"'
equal "with DNS-01 nothing listens for challenges" '.ingress.dns | [.failed, (.configuration | contains("acme")), (.firewall | contains("9482"))]' \
  '[[], false, false]'
equal "and lego uses the provider" '.ingress.dns.certs["www.example.org"]' '{dnsProvider: "hetzner", listenHTTP: null}'
equal "without hosts there is no ingress" .ingress.nothing false
only "a name in capitals is refused" .ingress.wrong "hosts on melchior: WWW is not a valid host name"
only "a name twice is refused" .ingress.wrong "has b.example.org more than once"
only "an invalid path is refused" .ingress.wrong 'locations."api" on melchior is not a valid path'
only "an unknown application needs a port" .ingress.wrong "no application module of this node publishes unknown"
only "an account without an address is refused" .ingress.wrong "acme.email on melchior is null"
only "a token of Hetzner's old DNS is refused" .ingress.wrong "HETZNER_API_KEY_FILE, which is for an API that Hetzner has switched off"
only "a token in the store is refused" .ingress.wrong "DO_AUTH_TOKEN_FILE on melchior is in the store"
only "a private key in the store is refused" .ingress.wrong '"a.example.org".certificate on melchior is in the store'
