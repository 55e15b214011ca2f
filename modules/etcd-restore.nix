# Replaces etcd's data with a snapshot, once, before etcd starts. `machinist etcd restore` delivers
# the snapshot and the request; if it is interrupted, it leaves either the request, which the next
# start of etcd carries out, or nothing. The data records the request that it was restored by: the
# removal of a request may be lost, since etcd's data may be on another disk. A member that was
# installed after the quorum was lost has the file `awaited`: its etcd does not start before a restore.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.machinist) etcd;
  cfg = config.services.etcd;
  request = "/var/lib/machinist/etcd-restore";
  root = program: arguments: "+${pkgs.coreutils}/bin/${program} ${arguments}";
in
{
  config = lib.mkIf etcd.enable {
    systemd.services.etcd = {
      requires = [ "machinist-etcd-restore.service" ];
      after = [ "machinist-etcd-restore.service" ];
    };

    systemd.services.machinist-etcd-restore = {
      description = "Restore of etcd from a snapshot";
      unitConfig.ConditionPathExists = [
        "|${request}/ready"
        "|${request}/awaited"
      ];
      # Runs when etcd starts, never because its definition changed.
      restartIfChanged = false;
      path = [
        pkgs.coreutils
        cfg.package
      ];
      serviceConfig = {
        Type = "oneshot";
        UMask = "0077";
        # In the data directory, all commands run as etcd's user: root would follow links that this
        # user places there. Root hands over the request beforehand, and removes it after success.
        User = "etcd";
        Group = "etcd";
        EnvironmentFile = [
          "/etc/machinist/etcd.env"
          # systemd reads it again before each command, also after its removal.
          "-${request}/ready"
        ];
        ExecStartPre = [
          (root "chgrp" "etcd ${request}")
          (root "chmod" "0710 ${request}")
          # If only the removal of the request was lost, the snapshot no longer exists.
          "-${root "chgrp" "etcd ${request}/etcd.db"}"
          "-${root "chmod" "0640 ${request}/etcd.db"}"
        ];
        ExecStartPost = [
          (root "rm" "-f ${request}/ready ${request}/etcd.db ${request}/awaited")
          (root "sync" request)
        ];
      };
      # RESTORE_MARK, RESTORE_BUMP and RESTORE_SHA256 are in the request. The token is a new one, so
      # members with older data cannot join. Revisions are raised, so that a watching client never
      # mistakes an old one for a new one.
      script = ''
        set -euo pipefail
        if [ ! -e ${request}/ready ]; then
          echo "etcd waits for a restore: \`machinist etcd restore FILE\`" >&2
          exit 1
        fi
        cd ${lib.escapeShellArg cfg.dataDir}
        # A restore of an earlier release ran as root, and its files may not be removable by etcd's
        # user.
        rm -rf restoring 2>/dev/null || mv restoring "restoring.before-$RESTORE_MARK"
        record=member/machinist-restore
        if [ -f "$record" ] && [ "$(cat "$record")" = "$RESTORE_MARK" ]; then
          echo "the data is already that of the requested restore: removing the request only" >&2
          exit 0
        fi
        found=$(sha256sum ${request}/etcd.db | cut --delimiter=' ' --fields=1)
        if [ "$found" != "$RESTORE_SHA256" ]; then
          echo "${request}/etcd.db has the wrong checksum: run \`machinist etcd restore\` again" >&2
          exit 1
        fi
        etcdutl snapshot restore ${request}/etcd.db \
          --name ${lib.escapeShellArg cfg.name} \
          --initial-cluster "$ETCD_INITIAL_CLUSTER" \
          --initial-cluster-token ${lib.escapeShellArg cfg.initialClusterToken}-"$RESTORE_MARK" \
          --initial-advertise-peer-urls ${lib.escapeShellArg (lib.concatStringsSep "," cfg.initialAdvertisePeerUrls)} \
          --data-dir restoring \
          --bump-revision "$RESTORE_BUMP" --mark-compacted
        # The record is created and removed together with the data it describes.
        echo "$RESTORE_MARK" >restoring/$record
        sync -f restoring
        if [ -d member ]; then
          # Nothing is overwritten: an earlier attempt may have moved data aside.
          before=member.before-$RESTORE_MARK
          while [ -e "$before" ]; do before=$before-again; done
          mv member "$before"
        fi
        mv restoring/member member
        sync -f member
        rm -rf restoring
      '';
    };
  };
}
