# Puts a snapshot in the place of etcd's data, once, before etcd starts. `machinist etcd restore` brings the snapshot and the
# request; who stops in between leaves either the request, which the next start of etcd carries out, or nothing.
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

  # In the data directory, everything is done with the rights of etcd's user: root would follow what that user puts there.
  asEtcd = "${pkgs.util-linux}/bin/setpriv --reuid=etcd --regid=etcd --clear-groups --inh-caps=-all --no-new-privs";
  restore = pkgs.writeShellScript "etcd-restore" ''
    set -euo pipefail
    cd ${lib.escapeShellArg cfg.dataDir}
    rm -rf restoring
    etcdutl snapshot restore ${request}/etcd.db \
      --name ${lib.escapeShellArg cfg.name} \
      --initial-cluster "$ETCD_INITIAL_CLUSTER" \
      --initial-cluster-token ${lib.escapeShellArg cfg.initialClusterToken}-"$RESTORE_MARK" \
      --initial-advertise-peer-urls ${lib.escapeShellArg (lib.concatStringsSep "," cfg.initialAdvertisePeerUrls)} \
      --data-dir restoring \
      --bump-revision "$RESTORE_BUMP" --mark-compacted
    before=member.before-$RESTORE_MARK
    # If it was cut off between the two moves, the data from before is aside already.
    if [ -d member ] && [ ! -e "$before" ]; then mv member "$before"; fi
    rm -rf member
    mv restoring/member member
    sync -f member
    rm -rf restoring
  '';
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
        EnvironmentFile = [
          "/etc/machinist/etcd.env"
          "${request}/ready"
        ];
      };
      # RESTORE_MARK, RESTORE_BUMP and RESTORE_SHA256 come with the request. The token is a new one, so members with the
      # data from before cannot join. Revisions jump, so nobody who watches takes an old one for a new one.
      script = ''
        set -euo pipefail
        found=$(sha256sum ${request}/etcd.db | cut --delimiter=' ' --fields=1)
        if [ "$found" != "$RESTORE_SHA256" ]; then
          echo "${request}/etcd.db is not what was sent: run \`machinist etcd restore\` again" >&2
          exit 1
        fi
        chgrp etcd ${request} ${request}/etcd.db
        chmod 0710 ${request}
        chmod 0640 ${request}/etcd.db
        ${asEtcd} ${restore}
        rm -f ${request}/ready
        rm -f ${request}/etcd.db
      '';
    };
  };
}
