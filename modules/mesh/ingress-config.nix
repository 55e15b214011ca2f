# The text of the ingress' configuration for haproxy (2.6 and later). Names, paths and ports have been checked before.
{ lib }:
let
  # The first part that matches is taken: longer paths first.
  byLength =
    locations:
    lib.sort (a: b: builtins.stringLength a > builtins.stringLength b || (builtins.stringLength a == builtins.stringLength b && a < b)) (
      lib.attrNames locations
    );

  # The whole header, which hdr() would take apart at commas. Names come with a port where a client says one, and in any case.
  isHost = name: host: "{ req.fhdr(host),host_only -i ${lib.concatStringsSep " " ([ name ] ++ host.aliases)} }";

  # One host, as a name or an address with or without a port: applications and caches may read another one than was routed by.
  hasOneHost = "{ req.fhdr_cnt(host) eq 1 } { req.fhdr(host) -m reg ^([A-Za-z0-9.-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?$ }";

  # Headers by which proxies say where a request came from and was meant for.
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
  # A line a certificate, with the names that it is for.
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
      # One for each family: through one for both, applications would see clients as ::ffff:192.0.2.1.
      bind =
        port: options:
        [ "bind :${port}${options}" ] ++ lib.optional speaksIPv6 "bind [::]:${port} v6only${options}";
      secure = lib.filterAttrs (_: host: host.https) hosts;
      plain = lib.filterAttrs (_: host: !host.https) hosts;
      local = "server here 127.0.0.1:${toString challenge.local}";
      others = lib.imap1 (number: peer: "server peer${toString number} ${peer}:${toString challenge.peers}") peers;
      # What a client says of itself is not passed on: applications believe these headers. CGI and its heirs read X_Forwarded_For as
      # X-Forwarded-For. An instance may have the address of an ingress: its requests would go round until no connection is left.
      headers =
        protocol:
        [
          "http-request deny deny_status 400 unless ${hasOneHost}"
          "http-request return status 508 content-type text/plain string \"the ingress meets its own request\" if { req.fhdr(x-machinist-ingress) -m str ${cluster} }"
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
          # Connections that a reload leaves to the process before it.
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
          # Websockets, once they are ones.
          "timeout tunnel 1h"
          "option redispatch 1"
          "option dontlognull"
          # A reload lets a connection that is kept alive answer once more, and closes it then: no request meets a closed one.
          "option idle-close-on-response"
          # Only what no application has seen is sent again.
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
        # Only the node that asked for a certificate listens, and only it knows the answer.
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
        name: location: block "backend ${name}" [
          # The mesh chooses an instance for each connection: clients that shared one would all be that instance's.
          "http-reuse never"
          "server mesh 127.0.0.1:${toString location.port}"
        ]
      ) (applications hosts)
      ++ [ (block "backend nothing" [ "http-request return status 404 content-type text/plain string \"no such host or path\"" ]) ]
    );
}
