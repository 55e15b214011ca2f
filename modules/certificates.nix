# Expiry of this node's certificates: a timer checks them, logs warnings to the journal, and writes
# a metric file for the textfile collector of node_exporter. `machinist status` and `machinist
# drift` read the same file.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.certificates;
  inherit (config.machinist) pki;
  file = "${cfg.metricsDirectory}/machinist_certificates.prom";

  issued = lib.mapAttrs (_: entry: entry.certificate) pki.certificates;
  host = lib.optionalAttrs (pki.hostCertificate != null) { ssh-host = pki.hostCertificate; };
  trusted = lib.mapAttrs' (name: path: lib.nameValuePair "${name}-ca" path) pki.authorities;
  checks = lib.concatStringsSep "\n" (
    lib.mapAttrsToList (name: path: "check ${lib.escapeShellArg name} ${lib.escapeShellArg path}") (
      issued // trusted // host
    )
    # Patterns, which the shell expands.
    ++ map (
      pattern: "for path in ${pattern}; do if [ -f \"$path\" ]; then check \"$path\" \"$path\"; fi; done"
    ) cfg.files
  );
in
{
  options.machinist.certificates = {
    warnDays = lib.mkOption {
      type = lib.types.ints.positive;
      default = 30;
      description = "Days before expiry at which the journal starts to warn of a certificate.";
    };

    files = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "/[A-Za-z0-9/._*+-]+");
      default = [ ];
      example = [ "/var/lib/acme/*/cert.pem" ];
      description = ''
        Patterns of additional certificate files to check, PEM, besides those that machinist issued to the node.
      '';
    };

    metricsDirectory = lib.mkOption {
      type = lib.types.strMatching "/[A-Za-z0-9/._-]+";
      default = "/var/lib/machinist/metrics";
      readOnly = true;
      description = ''
        Directory of the metric file. Point the textfile collector of node_exporter at it:
        `services.prometheus.exporters.node.extraFlags = [ "--collector.textfile.directory=/var/lib/machinist/metrics" ]`.
      '';
    };
  };

  config = lib.mkIf (issued != { } || host != { } || cfg.files != [ ]) {
    systemd.tmpfiles.rules = [
      "d /var/lib/machinist 0755 root root -"
      "d ${cfg.metricsDirectory} 0755 root root -"
    ];

    systemd.services.machinist-certificates = {
      description = "Check of certificate expiry";
      # Also at each boot and activation, so that a certificate renewed by a deploy is no longer
      # reported.
      wantedBy = [ "multi-user.target" ];
      path = [
        pkgs.coreutils
        pkgs.openssl
      ]
      ++ lib.optional (host != { }) config.programs.ssh.package;
      serviceConfig = {
        Type = "oneshot";
        Nice = 10;
      };
      # Always succeeds: an expiring certificate is a warning, and must not revert the deploy that
      # renews another one.
      script = ''
        set -u
        mkdir -p ${cfg.metricsDirectory}
        cd ${cfg.metricsDirectory} || exit 0
        new=$(mktemp .certificates-XXXXXX) || exit 0
        trap 'rm -f "$new"' EXIT
        now=$(date +%s)
        unreadable=0

        # first_end FILE: sets `end` to the earliest expiry of the file's certificates, in seconds
        # since 1970.
        first_end() {
          local line date one block=
          end=
          while IFS= read -r line || [ -n "$line" ]; do
            block+=$line$'\n'
            if [ "$line" = "-----END CERTIFICATE-----" ]; then
              # For an empty text, date prints the start of today.
              date=$(openssl x509 -noout -enddate <<<"$block" 2>/dev/null) && one=$(date --date="''${date#notAfter=}" +%s) || return
              if [ -z "$end" ] || [ "$one" -lt "$end" ]; then end=$one; fi
              block=
            fi
          done <"$1"
        }

        # host_end FILE: the same for the certificate of an SSH host key.
        host_end() {
          local date
          end=
          date=$(TZ=UTC ssh-keygen -L -f "$1" 2>/dev/null | sed -n 's/^ *Valid: from .* to //p')
          if [ -n "$date" ]; then end=$(date --utc --date="$date" +%s); fi
        }

        # check NAME FILE
        check() {
          local end days
          case $2 in
            *-cert.pub) host_end "$2" ;;
            *) first_end "$2" ;;
          esac
          if [ -z "$end" ]; then
            echo "<4>certificate $1 cannot be read: $2"
            unreadable=$((unreadable + 1))
            return
          fi
          days=$(((end - now) / 86400))
          if [ "$end" -le "$now" ]; then
            echo "<3>certificate $1 expired on $(date --utc --date="@$end" +%F): $2"
          elif [ "$days" -lt ${toString cfg.warnDays} ]; then
            echo "<4>certificate $1 expires in $days days, on $(date --utc --date="@$end" +%F): $2"
          fi
          printf 'machinist_certificate_not_after_timestamp_seconds{name="%s"} %s\n' "$1" "$end" >>"$new"
        }

        {
          echo "# HELP machinist_certificate_not_after_timestamp_seconds End of a certificate, in seconds since 1970."
          echo "# TYPE machinist_certificate_not_after_timestamp_seconds gauge"
        } >"$new" || exit 0
        ${checks}
        {
          echo "# HELP machinist_certificates_unreadable Certificates that could not be read."
          echo "# TYPE machinist_certificates_unreadable gauge"
          echo "machinist_certificates_unreadable $unreadable"
          echo "# HELP machinist_certificates_checked_timestamp_seconds Time of the check, in seconds since 1970."
          echo "# TYPE machinist_certificates_checked_timestamp_seconds gauge"
          echo "machinist_certificates_checked_timestamp_seconds $now"
        } >>"$new" || exit 0
        chmod 0644 "$new" && sync "$new" && mv "$new" ${file}
        exit 0
      '';
    };

    systemd.timers.machinist-certificates = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = "daily";
        RandomizedDelaySec = "1h";
        Persistent = true;
      };
    };
  };
}
