# The script that orders a certificate, or renews an existing one. It runs in a private /tmp with
# three directories: out is /var/lib/acme/<name>, certificates and accounts are lego's. Exit status
# 10: nothing could be ordered, 11: nothing renewed and time is up.
{
  lib,
  mail,
  locked,
  owned,
}:
name: data:
let
  key = lib.replaceStrings [ "*" ] [ "_" ] data.domain;
  keyFile = if data.csrKey != null then data.csrKey else "certificates/${key}.key";
  domains = builtins.substring 0 20 (
    builtins.hashString "sha256" "${lib.concatStringsSep " " data.extraDomainNames} ${data.domain}"
  );

  way =
    if data.dnsProvider != null then
      [
        "--dns"
        data.dnsProvider
      ]
      # `--dns.propagation-disable-ans` in newer versions.
      ++ lib.optional (!data.dnsPropagationCheck) "--dns.disable-cp"
      ++ lib.optionals (data.dnsResolver != null) [ "--dns.resolvers" data.dnsResolver ]
    else if data.s3Bucket != null then
      [ "--http" "--http.s3-bucket" data.s3Bucket ]
    else if data.listenHTTP != null then
      [ "--http" "--http.port" data.listenHTTP ]
    else
      [ "--http" "--http.webroot" data.webroot ];
  common =
    # Newer versions use this address by default.
    [ "--accept-tos" "--path" "." "--email" (mail data) ]
    ++ way
    ++ lib.optionals (data.server != null) [ "--server" data.server ]
    ++ (
      if data.csr != null then
        [ "--csr" data.csr ]
      else
        [ "--key-type" data.keyType "-d" data.domain ]
    )
    ++ lib.concatMap (name: [ "-d" name ]) data.extraDomainNames
    ++ data.extraLegoFlags;
  both =
    lib.optional data.ocspMustStaple "--must-staple" ++ lib.optional (data.profile != null) "--profile=${data.profile}";
  run = lib.escapeShellArgs (common ++ [ "run" ] ++ both ++ data.extraLegoRunFlags);
  renew = lib.escapeShellArgs (common ++ [ "renew" "--no-random-sleep" ] ++ both ++ data.extraLegoRenewFlags);
in
locked ''
  ${lib.optionalString data.enableDebugLogs "set -x"}
  set -euo pipefail

  # moment FILE startdate|enddate: in seconds.
  moment() { date --date "$(openssl x509 -in "$1" -noout "-$2" | cut -d= -f2)" +%s; }
  # The days before expiry at which a certificate is renewed: `lego renew --dynamic` of newer versions, in
  # whole days.
  days() {
    ${
      if data.validMinDays != null then
        "echo ${toString data.validMinDays}"
      else
        ''
          local lifetime=$(($(moment "$1" enddate) - $(moment "$1" startdate))) part=3
          if [ "$lifetime" -lt $((10 * 86400)) ]; then part=2; fi
          echo $((lifetime / part / 86400))''
    }
  }
  # early FILE: succeeds if the certificate is not due yet, in which case a failed renewal does not matter.
  early() {
    [ -e "$1" ] && [ $((($(moment "$1" enddate) - $(date +%s)) / 86400)) -gt "$(days "$1")" ]
  }

  echo '${domains}' >domainhash.txt
  if cmp -s domainhash.txt certificates/domainhash.txt && [ -e '${keyFile}' ] && [ -e 'certificates/${key}.crt' ] \
    && [ -n "$(find accounts -name '${mail data}.key')" ]; then
    if ! lego ${renew} --days "$(days 'certificates/${key}.crt')"; then
      if ! early out/full.pem; then exit 11; fi
      echo 'nixos-acme: Ignoring failed renewal because expiration is not due yet' >&2
    fi
  elif ! lego ${run}; then
    echo 'Failed to fetch certificates: DNS may not lead here yet. Self-signed ones are in place, and services start with them.'
    exit 10
  fi

  mv domainhash.txt certificates/
  touch out/acme-success
  if ! cmp -s 'certificates/${key}.crt' out/fullchain.pem; then
    echo 'Installing new certificate'
    touch out/renewed
    cp -v 'certificates/${key}.crt' out/fullchain.pem
    cp -v '${keyFile}' out/key.pem
    cp -v 'certificates/${key}.issuer.crt' out/chain.pem
    ln -sf fullchain.pem out/cert.pem
    cat out/key.pem out/fullchain.pem >out/full.pem
  fi
  for directory in out certificates; do
    ${owned data "$directory"}
  done
  chmod -R u=rwX,g=,o= accounts/.
''
