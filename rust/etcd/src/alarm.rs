//! Alarms of etcd, as every member reports them in its status.

use std::collections::BTreeSet;

/// Alarm that a member raised for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The database of a member exceeded its quota. The cluster rejects writes until the alarm is disarmed, but every
    /// member still votes, serves reads and accepts deletions (etcd.io, "Maintenance", "Space quota").
    NoSpace {
        /// Identifier of the member, if the line has one.
        member: Option<u64>,
    },
    /// Any other line, such as `alarm:CORRUPT`: the member must not be relied on.
    Other(String),
}

impl Alarm {
    /// Parses a line of a status' `errors`, such as `memberID:6566013454123969325 alarm:NOSPACE `.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let member = words.clone().find_map(|word| word.strip_prefix("memberID:")?.parse().ok());
        if words.any(|word| word == "alarm:NOSPACE") { Self::NoSpace { member } } else { Self::Other(line.to_owned()) }
    }
}

/// Returns the message about members over their quota, named in `members`. `None` without such a member.
#[must_use]
pub fn quota_notice(members: &BTreeSet<String>) -> Option<String> {
    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        format!("etcd refuses writes: the database exceeded its quota (alarm NOSPACE, raised by {})", names.join(", "))
    })
}

/// The remedy for a quota alarm.
pub const QUOTA_HINT: &str = "`machinist etcd defrag` compacts, defragments and disarms the alarm; if that frees too little, delete \
                              keys first (`machinist etcd ls` lists them) or raise QUOTA_BACKEND_BYTES in \
                              services.etcd.extraConf";

#[cfg(test)]
mod tests {
    use super::Alarm;

    #[test]
    fn the_quota_alarm_names_its_member_whatever_the_spaces() {
        let raised = Alarm::NoSpace { member: Some(6_566_013_454_123_969_325) };
        // etcd 3.4 and 3.5; etcd 3.6 with the spaces that its protobuf library varies on purpose.
        for line in ["memberID:6566013454123969325 alarm:NOSPACE ", "memberID:6566013454123969325  alarm:NOSPACE"] {
            assert_eq!(Alarm::parse(line), raised);
        }
        assert_eq!(Alarm::parse("alarm:NOSPACE"), Alarm::NoSpace { member: None });
    }

    #[test]
    fn anything_else_is_no_quota_alarm() {
        for line in ["memberID:1 alarm:CORRUPT ", "etcdserver: no leader", ""] {
            assert_eq!(Alarm::parse(line), Alarm::Other(line.to_owned()));
        }
    }
}
