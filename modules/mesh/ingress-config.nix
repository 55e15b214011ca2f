# The ingress's haproxy configuration (2.6 and later). Names, paths and ports have been validated
# before.
{ lib }:
let
  # The first match wins: longer paths first.
  byLength =
    locations:
    lib.sort (
      a: b:
      builtins.stringLength a > builtins.stringLength b
      || (builtins.stringLength a == builtins.stringLength b && a < b)
    ) (lib.attrNames locations);

  # The complete header, which hdr() would split at commas. Clients may add a port, and use any
  # case.
  isHost =
    name: host:
    "{ req.fhdr(host),host_only -i ${lib.concatStringsSep " " ([ name ] ++ host.aliases)} }";

  # Exactly one host, as a name or an address with or without a port: applications and caches may
  # read another one than the routing.
  hasOneHost = "{ req.fhdr_cnt(host) eq 1 } { req.fhdr(host) -m reg ^([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?$ }";

  # Headers in which proxies report a request's origin and original target.
  forwarding = "^(${
    lib.concatStringsSep "|" [
      "(true-|x-cluster-|x-)?client-ip"
      "cf-connecting-ip"
      "forwarded"
      "proxy"
      "x-forwarded.*"
      "x-host"
      "x-original-.*"
      "x-real-ip"
      "x-rewrite-url"
    ]
  })$";
  backend = location: "app_${location.app}_${toString location.port}";

  routes =
    hosts:
    lib.concatLists (
      lib.mapAttrsToList (
        name: host:
        lib.concatMap (
          path:
          let
            below = if lib.hasSuffix "/" path then path else "${path}/";
            to = "use_backend ${backend host.locations.${path}} if ${isHost name host}";
          in
          lib.optional (below != path) "${to} { path ${path} }" ++ [ "${to} { path_beg ${below} }" ]
        ) (byLength host.locations)
      ) hosts
    );

  applications =
    hosts:
    lib.listToAttrs (
      map (location: lib.nameValuePair (backend location) location) (
        lib.concatMap (host: lib.attrValues host.locations) (lib.attrValues hosts)
      )
    );

  block = title: lines: "${title}\n" + lib.concatMapStrings (line: "  ${line}\n") lines;
in
{
  # One line per certificate, with its names.
  certificates =
    hosts:
    lib.concatStrings (
      lib.mapAttrsToList (
        name: host:
        let
          file = if host.certificate == null then "/var/lib/acme/${name}/full.pem" else host.certificate;
        in
        "${file} ${lib.concatStringsSep " " ([ name ] ++ host.aliases)}\n"
      ) hosts
    );

  configuration =
    {
      cluster,
      hosts,
      maxconn,
      challenge,
      address,
      peers,
      answersChallenges,
      speaksIPv6,
    }:
    let
      # One per family: with one for both, applications would see clients as ::ffff:192.0.2.1.
      bind =
        port: options:
        [ "bind :${port}${options}" ] ++ lib.optional speaksIPv6 "bind [::]:${port} v6only${options}";
      secure = lib.filterAttrs (_: host: host.https) hosts;
      plain = lib.filterAttrs (_: host: !host.https) hosts;
      local = "server here 127.0.0.1:${toString challenge.local}";
      others = lib.imap1 (
        number: peer: "server peer${toString number} ${peer}:${toString challenge.peers}"
      ) peers;
      # A client's own values are not passed on: applications trust these headers. CGI and its
      # successors read X_Forwarded_For as X-Forwarded-For. An instance may have the address of an
      # ingress: its requests would loop until all connections are in use.
      headers = protocol: [
        "http-request deny deny_status 400 unless ${hasOneHost}"
        "http-request return status 508 content-type text/plain string \"loop: the ingress received its own request\" if { req.fhdr(x-machinist-ingress) -m str ${cluster} }"
        "http-request del-header [^A-Za-z0-9-] -m reg"
        "http-request del-header ${forwarding} -m reg"
        "http-request set-header X-Machinist-Ingress ${cluster}"
        "http-request set-header X-Forwarded-For %[src]"
        "http-request set-header X-Forwarded-Proto ${protocol}"
        "http-request set-header X-Forwarded-Host %[req.fhdr(host)]"
      ];
    in
    lib.concatStringsSep "\n" (
      [
        (block "global" [
          "log stderr format raw local0 notice"
          "maxconn ${toString maxconn}"
          "no strict-limits"
          # Ends the connections that a reload leaves to the previous process.
          "hard-stop-after 1h"
          # Mozilla's intermediate recommendation.
          "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"
          "ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
          (
            "ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
            + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
          )
        ])
        (block "defaults" [
          "log global"
          "mode http"
          "timeout http-request 10s"
          "timeout http-keep-alive 30s"
          "timeout connect 2s"
          "timeout client 2m"
          "timeout server 2m"
          # For upgraded websockets.
          "timeout tunnel 1h"
          "option redispatch 1"
          "option dontlognull"
          # After a reload, a kept-alive connection gets one more response and is then closed: no
          # request meets a closed connection.
          "option idle-close-on-response"
          # Only requests that no application has received are retried.
          "retry-on conn-failure"
          "retries 3"
        ])
        (block "frontend http" (
          bind "80" ""
          ++ headers "http"
          ++ lib.mapAttrsToList (
            name: host:
            "http-request redirect scheme https code 308 if ${isHost name host}"
            + lib.optionalString answersChallenges " !{ path_beg /.well-known/acme-challenge/ }"
          ) secure
          ++ lib.optional answersChallenges "use_backend acme if { path_beg /.well-known/acme-challenge/ }"
          ++ routes plain
          ++ [ "default_backend nothing" ]
        ))
      ]
      ++ lib.optional (secure != { }) (
        block "frontend https" (
          bind "443" " ssl crt-list /etc/machinist/ingress/certificates.txt alpn h2,http/1.1"
          ++ headers "https"
          ++ routes secure
          ++ [ "default_backend nothing" ]
        )
      )
      ++ lib.optionals answersChallenges [
        # Only the node that ordered a certificate listens, and only it has the response.
        (block "backend acme" (
          [
            "balance roundrobin"
            "retry-on conn-failure empty-response 404 503"
            "retries ${toString (2 * (1 + lib.length others))}"
            local
          ]
          ++ others
        ))
        (block "frontend acme-peers" [
          "bind ${address}:${toString challenge.peers}"
          "default_backend acme-here"
        ])
        (block "backend acme-here" [
          "retries 0"
          local
        ])
      ]
      ++ lib.mapAttrsToList (
        name: location:
        block "backend ${name}" [
          # The mesh selects an instance for each connection: clients that share one would all use
          # the same instance.
          "http-reuse never"
          "server mesh 127.0.0.1:${toString location.port}"
        ]
      ) (applications hosts)
      ++ [
        (block "backend nothing" [
          "http-request return status 404 content-type text/plain string \"no such host or path\""
        ])
      ]
    );
}
