# Snapshots of etcd on a schedule: verified, encrypted to the operators, kept on the member's own disk.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.etcd.snapshots;
  inherit (config.machinist) etcd;
  etcdPackage = config.services.etcd.package;
  # Root never opens files in a directory that etcd's user controls.
  asEtcd = "${pkgs.util-linux}/bin/setpriv --reuid=etcd --regid=etcd --clear-groups --inh-caps=-all --no-new-privs";
  recipients = pkgs.writeText "etcd-snapshot-recipients" (
    lib.concatStringsSep "\n" cfg.recipients + "\n"
  );
in
{
  options.machinist.etcd.snapshots = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = cfg.recipients != [ ];
      defaultText = lib.literalExpression "recipients != [ ]";
      description = ''
        Takes snapshots of etcd's data on this member. Enabled by default if there are recipients: `machinist check`
        warns of a cluster without operators.
      '';
    };

    schedule = lib.mkOption {
      type = lib.types.str;
      default = "*-*-* 00/6:00:00";
      example = "hourly";
      description = ''
        Schedule, in the format of `systemd.time`. Each member adds a random delay of up to ten minutes, so the
        members do not take them simultaneously.
      '';
    };

    keep = lib.mkOption {
      type = lib.types.ints.positive;
      default = 28;
      description = ''
        Number of snapshots to keep. The oldest are removed first, and only after a new one is complete.
      '';
    };

    directory = lib.mkOption {
      type = lib.types.path;
      default = "/var/lib/machinist/snapshots";
      description = "Directory of the snapshots. Only root can enter it.";
    };

    recipients = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p" ];
      description = "Recipients of the snapshots: the operators' public keys, of age or of SSH.";
    };
  };

  config = lib.mkIf (etcd.enable && cfg.enable) {
    systemd.tmpfiles.rules = [
      "d /var/lib/machinist 0755 root root -"
      "d ${cfg.directory} 0700 root root -"
    ];

    systemd.services.machinist-etcd-snapshot = {
      description = "Encrypted snapshot of etcd";
      after = [ "etcd.service" ];
      # A deploy must neither take a snapshot nor wait for one.
      restartIfChanged = false;
      path = [
        pkgs.age
        pkgs.coreutils
        pkgs.findutils
        etcdPackage
      ];
      serviceConfig = {
        Type = "oneshot";
        UMask = "0077";
        Nice = 10;
      };
      script = ''
        set -euo pipefail
        cd ${lib.escapeShellArg cfg.directory}
        rm -rf .new-*
        new=$(mktemp -d .new-XXXXXX)
        trap 'rm -rf "$new"' EXIT

        # etcd writes a copy, and for a moment the encrypted one exists beside it: a full disk would
        # stop etcd itself.
        size=$(${asEtcd} du --summarize --block-size=1 ${lib.escapeShellArg config.services.etcd.dataDir}/member/snap | cut -f1)
        free=$(df --output=avail --block-size=1 . | tail -n 1)
        if [ "$free" -lt $((3 * size + (256 << 20))) ]; then
          echo "not enough free space for a snapshot: $free bytes free, the database has $size" >&2
          exit 1
        fi

        ${config.machinist.etcd.ctl}/bin/machinist-etcdctl --command-timeout=600s --dial-timeout=3s \
          --endpoints=${config.machinist.etcd.ownUrl} snapshot save "$new/etcd.db" >&2
        # etcd appends the digest of the data. A snapshot that does not match it cannot be restored.
        bytes=$(stat --format=%s "$new/etcd.db")
        wanted=$(tail --bytes=32 "$new/etcd.db" | od --address-radix=n --format=x1 | tr --delete ' \n')
        found=$(head --bytes=$((bytes - 32)) "$new/etcd.db" | sha256sum | cut --delimiter=' ' --fields=1)
        if [ $((bytes % 512)) -ne 32 ] || [ "$wanted" != "$found" ]; then
          echo "the snapshot does not match its digest: discarded" >&2
          exit 1
        fi
        etcdutl snapshot status "$new/etcd.db" >&2

        age --encrypt --recipients-file ${recipients} --output "$new/etcd.db.age" "$new/etcd.db"
        rm -f "$new/etcd.db"
        sync "$new/etcd.db.age"
        mv "$new/etcd.db.age" "etcd-$(date --utc +%Y%m%dT%H%M%SZ).db.age"
        sync .
        # The names sort by time.
        find . -maxdepth 1 -name 'etcd-*.db.age' | sort --reverse | tail --lines=+${toString (cfg.keep + 1)} | xargs --no-run-if-empty rm --
      '';
    };

    systemd.timers.machinist-etcd-snapshot = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.schedule;
        RandomizedDelaySec = "10min";
        Persistent = true;
      };
    };

    assertions = [
      {
        assertion = cfg.recipients != [ ];
        message =
          "machinist.etcd.snapshots.recipients is empty on ${config.machinist.node.name}: no one could decrypt a snapshot. "
          + "Give cluster.operators in machines.nix their public keys and run `machinist generate`, or switch "
          + "machinist.etcd.snapshots.enable off.";
      }
    ];
  };
}
