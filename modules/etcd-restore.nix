# Puts a snapshot in the place of etcd's data, once, before etcd starts. `machinist etcd restore` brings the snapshot and the
# request; who stops in between leaves either the request, which the next start of etcd carries out, or nothing. The data
# itself records which request it came from: the removal of a request may be lost, since etcd's disk may be another one.
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
      unitConfig.ConditionPathExists = "${request}/ready";
      # It runs when etcd starts, never because it changed.
      restartIfChanged = false;
      path = [
        pkgs.coreutils
        cfg.package
      ];
      serviceConfig = {
        Type = "oneshot";
        UMask = "0077";
        # In the data directory, everything is done with the rights of etcd's user: root would follow what that user puts
        # there. Root hands the request over before, and removes it after a success.
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
          # Where only the removal of the request was lost, the snapshot is gone.
          "-${root "chgrp" "etcd ${request}/etcd.db"}"
          "-${root "chmod" "0640 ${request}/etcd.db"}"
        ];
        ExecStartPost = [
          (root "rm" "-f ${request}/ready ${request}/etcd.db")
          (root "sync" request)
        ];
      };
      # RESTORE_MARK, RESTORE_BUMP and RESTORE_SHA256 come with the request. The token is a new one, so members with the
      # data from before cannot join. Revisions jump, so nobody who watches takes an old one for a new one.
      script = ''
        set -euo pipefail
        cd ${lib.escapeShellArg cfg.dataDir}
        # A restore of an earlier release ran as root, and what it left may not be removable here.
        rm -rf restoring 2>/dev/null || mv restoring "restoring.before-$RESTORE_MARK"
        record=member/machinist-restore
        if [ -f "$record" ] && [ "$(cat "$record")" = "$RESTORE_MARK" ]; then
          echo "this data came from the requested restore already: only the request is removed" >&2
          exit 0
        fi
        found=$(sha256sum ${request}/etcd.db | cut --delimiter=' ' --fields=1)
        if [ "$found" != "$RESTORE_SHA256" ]; then
          echo "${request}/etcd.db is not what was sent: run \`machinist etcd restore\` again" >&2
          exit 1
        fi
        etcdutl snapshot restore ${request}/etcd.db \
          --name ${lib.escapeShellArg cfg.name} \
          --initial-cluster "$ETCD_INITIAL_CLUSTER" \
          --initial-cluster-token ${lib.escapeShellArg cfg.initialClusterToken}-"$RESTORE_MARK" \
          --initial-advertise-peer-urls ${lib.escapeShellArg (lib.concatStringsSep "," cfg.initialAdvertisePeerUrls)} \
          --data-dir restoring \
          --bump-revision "$RESTORE_BUMP" --mark-compacted
        # The record comes and goes with the data that it is about.
        echo "$RESTORE_MARK" >restoring/$record
        sync -f restoring
        if [ -d member ]; then
          # Nothing is overwritten: an earlier try may have put data aside.
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
