//! Maintenance of etcd, and restore from a snapshot.

use machinist_model::NodeName;
use serde::Serialize;

use crate::etcd::Health;

/// Returns free space to the file system. The member is unavailable meanwhile. Input variables: endpoint (its URL).
pub const DEFRAGMENT: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=300s --dial-timeout=3s --endpoints=\"$endpoint\" defrag
";

/// Compacts etcd's history up to a revision and waits until its space is freed. Already compacted history counts as
/// success. Input variables: endpoint and revision.
pub const COMPACT: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
answer=$(machinist-etcdctl --command-timeout=300s --dial-timeout=3s --endpoints=\"$endpoint\" compaction --physical \"$revision\" 2>&1) ||
  case $answer in
    *'has been compacted'*) ;;
    *) printf '%s\\n' \"$answer\" >&2; exit 1 ;;
  esac
";

/// Disarms all alarms. etcdctl cannot select them, so this must not run in a cluster with a `CORRUPT` alarm. Input
/// variables: endpoint.
pub const DISARM: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" alarm disarm
";

/// Writes a key through one member and deletes it again: each member checks its own quota. A member that is still over
/// it raises the alarm again, and this fails. Input variables: endpoint.
pub const TRY_WRITE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" put machinist/write-check '' >/dev/null &&
  machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" del machinist/write-check >/dev/null
";

/// Lists the snapshots that a member took by itself, newest first: seconds since 1970, bytes and path, separated by
/// tabs.
pub const LIST_SNAPSHOTS: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
[ -d /var/lib/machinist/snapshots ] || exit 0
find /var/lib/machinist/snapshots -maxdepth 1 -type f -name '*.age' -printf '%T@\\t%s\\t%p\\n' | sort -rn
";

/// Writes a file to standard output. Input variables: file.
pub const READ_FILE: &str = "cat -- \"$file\"\n";

/// Stores the snapshot from standard input, after verifying its digest. Nothing else is changed. Input variables:
/// digest (SHA-256, hexadecimal). Requires the functions of `durable.sh`.
pub const RECEIVE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
umask 077
request=/var/lib/machinist/etcd-restore
mkdir -p \"$request\" && chmod 0700 \"$request\" || exit 1
rm -f \"$request/ready\" \"$request/etcd.db\"
cat >\"$request/etcd.db.partial\" || exit 1
found=$(sha256sum \"$request/etcd.db.partial\" | cut -d ' ' -f 1)
if [ \"$found\" != \"$digest\" ]; then
  rm -f \"$request/etcd.db.partial\"
  echo 'the snapshot did not arrive whole' >&2
  exit 1
fi
place_durably \"$request/etcd.db.partial\" \"$request/etcd.db\"
";

/// Stops etcd and requests the restore, which the next start of etcd performs (`modules/etcd-restore.nix`). Input
/// variables: mark, bump (the jump of revisions) and digest. Requires the functions of `durable.sh`.
pub const ASK_FOR_RESTORE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
umask 077
request=/var/lib/machinist/etcd-restore
[ -f \"$request/etcd.db\" ] || { echo \"$request/etcd.db is not there\" >&2; exit 1; }
systemctl stop etcd.service 2>/dev/null
if systemctl is-active --quiet etcd.service; then echo 'etcd.service does not stop' >&2; exit 1; fi
write_durably \"$request/ready\" \"RESTORE_MARK=$mark
RESTORE_BUMP=$bump
RESTORE_SHA256=$digest\"
";

/// Starts etcd if the system has it, and then prints `started`. Does not wait, since a member waits for the others.
pub const START_RESTORED: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
[ \"$(systemctl show --property=LoadState --value machinist-etcd-restore.service)\" = loaded ] || exit 0
systemctl reset-failed etcd.service machinist-etcd-restore.service 2>/dev/null
systemctl start --no-block etcd.service && echo started
";

/// Prints the state of the restore: `done`, `begun`, or `failed` with the last lines of its log.
pub const RESTORE_STATE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
if [ ! -e /var/lib/machinist/etcd-restore/ready ]; then echo done; exit 0; fi
if systemctl is-failed --quiet machinist-etcd-restore.service; then
  journalctl --unit=machinist-etcd-restore.service --lines=8 --output=cat >&2
  exit 1
fi
echo begun
";

/// Jump of revisions in a restore. A client that watched before must not see a known revision again; etcd's own
/// documentation (etcd.io, "Disaster recovery") suggests 1,000,000,000.
pub const REVISION_JUMP: u64 = 1_000_000_000;

/// A snapshot on a member's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Node of the member.
    pub node: NodeName,
    /// Path on the node.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the snapshot, in seconds since 1970.
    pub taken: i64,
}

/// Parses the output of [`LIST_SNAPSHOTS`]. Invalid lines are ignored.
#[must_use]
pub fn kept(node: &NodeName, stdout: &str) -> Vec<Kept> {
    let read = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let taken = fields.next()?.split('.').next()?.parse().ok()?;
        let bytes = fields.next()?.parse().ok()?;
        Some(Kept { node: node.clone(), path: fields.next()?.to_owned(), bytes, taken })
    };
    stdout.lines().filter_map(read).collect()
}

/// Returns the members in the order of maintenance: the leader last.
#[must_use]
pub fn leader_last(health: &Health) -> Vec<NodeName> {
    let leads = |name: &&NodeName| health.leader.as_ref() == Some(*name);
    let (last, first): (Vec<_>, Vec<_>) = health.members.keys().partition(leads);
    first.into_iter().chain(last).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::etcd::Member;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    #[test]
    fn kept_snapshots_are_parsed_and_other_lines_ignored() {
        let answer = "1795260000.5\t4096\t/var/lib/machinist/snapshots/etcd-a b.db.age\nfind: a warning\n";
        let path = "/var/lib/machinist/snapshots/etcd-a b.db.age".to_owned();
        let wanted = Kept { node: name("casper"), path, bytes: 4096, taken: 1_795_260_000 };
        assert_eq!(kept(&name("casper"), answer), [wanted]);
    }

    #[test]
    fn the_leader_comes_last() {
        let members: BTreeMap<_, _> =
            ["balthazar", "casper", "melchior"].map(|text| (name(text), Member::default())).into();
        let health =
            Health { members, unmanaged: Vec::new(), leader: Some(name("balthazar")), over_quota: BTreeSet::new() };
        assert_eq!(leader_last(&health), ["casper", "melchior", "balthazar"].map(name));
    }
}
