//! Changes of etcd's voters: the scripts, and the conditions under which they are safe. Pure.
//!
//! A member joins as a learner, which does not count for the quorum, and is promoted once it has caught up (etcd.io,
//! "Learner"). A member to be replaced is removed before its successor joins: the reverse order would enlarge the
//! quorum first.

use machinist_model::{NodeName, quorum::quorum};

use crate::{copy::with_copy, etcd::Health};

// Each script addresses one member: etcdctl would pick any, and one that is being removed stops before it answers.

/// Adds a learner. Input variables: endpoint (a member's URL), name, url (its peer URL).
pub const ADD_LEARNER: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" member add \"$name\" --learner --peer-urls=\"$url\"
";

/// Promotes a learner to a voter; etcd itself rejects that for one that has not caught up. Input variables: endpoint,
/// and id, hexadecimal.
pub const PROMOTE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" member promote \"$id\"
";

/// Replaces the peer URLs of a member. Input variables: endpoint (a member's URL), id, hexadecimal, and urls, separated by
/// commas.
pub const UPDATE_PEERS: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" member update \"$id\" --peer-urls=\"$urls\"
";

/// Connects to another member: to its client port as etcdctl does, which verifies the certificate's names, and to its peer
/// port. Input variables: endpoint (its URL) and address.
pub const ANSWERS: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=5s --dial-timeout=3s --endpoints=\"$endpoint\" endpoint health >&2 || exit 1
timeout 5 bash -c ': <\"/dev/tcp/$0/2380\"' \"$address\" || { echo \"$address: port 2380 is closed\" >&2; exit 1; }
";

/// Removes a member. Input variables: endpoint (another member's URL) and id, hexadecimal.
pub const REMOVE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" member remove \"$id\"
";

/// Takes a snapshot of one member, verifies it, and writes it to standard output. Meanwhile it is stored in a directory
/// that only root can read. Input variables: endpoint (the member's URL).
pub const SNAPSHOT: &str = with_copy!(
    "\
machinist-etcdctl --command-timeout=600s --dial-timeout=3s --endpoints=\"$endpoint\" snapshot save \"$directory/etcd.db\" >&2 &&
  etcdutl snapshot status \"$directory/etcd.db\" >&2 && cat \"$directory/etcd.db\"
"
);

/// Stops a removed member and moves its data aside, so that it can join again. No data is deleted; a pending restore is
/// cancelled, since the member would otherwise start with old data. Input variables: aside, the new path of the
/// directory.
pub const PUT_ASIDE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
systemctl stop etcd.service 2>/dev/null
if systemctl is-active --quiet etcd.service; then echo 'etcd.service does not stop' >&2; exit 1; fi
if [ -d /var/lib/etcd/member ]; then mv /var/lib/etcd/member \"$aside\"; fi
rm -f /var/lib/machinist/etcd-restore/ready
systemctl reset-failed etcd.service 2>/dev/null
true
";

/// Starts etcd on a node whose running system has its unit. Does not wait: a learner only counts as started once it has
/// heard from the others.
pub const START: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
systemctl reset-failed etcd.service 2>/dev/null
systemctl start --no-block etcd.service
";

/// A voting member, in the configuration or not.
struct Voter<'a> {
    label: &'a str,
    id: u64,
    healthy: bool,
}

fn voters(health: &Health) -> Vec<Voter<'_>> {
    let known = health.members.iter().filter(|(_, member)| !member.learner).filter_map(|(name, member)| {
        Some(Voter { label: name.as_str(), id: member.id?, healthy: member.problems.is_empty() })
    });
    let strangers = health.unmanaged.iter().filter(|stranger| !stranger.learner);
    known
        .chain(strangers.map(|stranger| Voter { label: &stranger.name, id: stranger.id, healthy: stranger.healthy }))
        .collect()
}

/// Returns why the member must not be removed now, or `None`: a quorum of the current voters must agree to the removal,
/// and the remaining ones must have a healthy quorum.
#[must_use]
pub fn removal_objection(health: &Health, id: u64) -> Option<String> {
    let voters = voters(health);
    let is_voter = voters.iter().any(|voter| voter.id == id);
    let healthy = voters.iter().filter(|voter| voter.healthy).count();
    if healthy < quorum(voters.len()) {
        return Some(format!("only {healthy} of {} voters are healthy: etcd cannot change its members", voters.len()));
    }
    if !is_voter {
        return None;
    }
    let stay: Vec<&Voter<'_>> = voters.iter().filter(|voter| voter.id != id).collect();
    if stay.is_empty() {
        return Some("it is the only voter; its removal would lose the data".to_owned());
    }
    let well = stay.iter().filter(|voter| voter.healthy).count();
    if well >= quorum(stay.len()) {
        return None;
    }
    let ill: Vec<&str> = stay.iter().filter(|voter| !voter.healthy).map(|voter| voter.label).collect();
    let (needs, ill) = (quorum(stay.len()), ill.join(", "));
    Some(format!(
        "removal would leave {well} of {} voters healthy; quorum needs {needs} (unhealthy: {ill})",
        stay.len()
    ))
}

/// Returns why no learner may be added now, or `None`: every member must be healthy, since the later promotion enlarges
/// the quorum, and etcd accepts one learner at a time.
#[must_use]
pub fn join_objection(health: &Health, joining: &NodeName) -> Option<String> {
    let others = health.broken().filter(|(name, _)| *name != joining);
    let mut ill: Vec<String> = others.map(|(name, why)| format!("{name} {why}")).collect();
    ill.extend(health.unmanaged.iter().map(|stranger| format!("etcd member {stranger} is not in machines.nix")));
    (!ill.is_empty()).then(|| ill.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use machinist_model::NodeName;

    use super::{join_objection, removal_objection};
    use crate::etcd::{Health, Member, Stranger};

    /// Members 1, 2, ... named a, b, ...: `+` is healthy, `-` is not, `l` is a learner.
    fn health(members: &str) -> Health {
        let member = |(n, kind): (u8, char)| {
            let problems = if kind == '-' { vec!["does not answer".to_owned()] } else { Vec::new() };
            let name = NodeName::parse(&char::from(b'a' + n - 1).to_string()).unwrap();
            (name, Member { problems, learner: kind == 'l', id: Some(u64::from(n)), ..Member::default() })
        };
        Health {
            members: (1..).zip(members.chars()).map(member).collect(),
            unmanaged: Vec::new(),
            leader: None,
            over_quota: BTreeSet::new(),
        }
    }

    #[track_caller]
    fn check(members: &str, id: u64, expect: Option<&str>) {
        assert_eq!(removal_objection(&health(members), id).as_deref(), expect);
    }

    #[test]
    fn a_member_may_go_when_those_that_stay_are_a_healthy_quorum() {
        check("+++", 1, None);
        check("-++", 1, None);
        check("++", 1, None);
        check("+++l", 4, None);
        check("++-+-", 3, None);
    }

    #[test]
    fn a_member_may_not_go_when_the_rest_would_have_no_quorum_or_nothing_can_be_agreed() {
        check("+", 1, Some("it is the only voter; its removal would lose the data"));
        check("+-", 2, Some("only 1 of 2 voters are healthy: etcd cannot change its members"));
        check("+-+", 1, Some("removal would leave 1 of 2 voters healthy; quorum needs 2 (unhealthy: b)"));
        check("--+", 1, Some("only 1 of 3 voters are healthy: etcd cannot change its members"));
    }

    #[test]
    fn an_unmanaged_member_counts_by_its_vote() {
        let with = |learner: bool| {
            let mut health = health("++");
            let healthy = false;
            health.unmanaged.push(Stranger { name: "x".to_owned(), id: 9, peer_urls: Vec::new(), learner, healthy });
            removal_objection(&health, 1)
        };
        assert_eq!(with(true), None, "a learner has no vote: b stays alone and is a quorum");
        let voter = "removal would leave 1 of 2 voters healthy; quorum needs 2 (unhealthy: x)";
        assert_eq!(with(false).as_deref(), Some(voter));
    }

    #[test]
    fn a_learner_joins_when_all_others_are_healthy_and_managed() {
        let joining = NodeName::parse("d").unwrap();
        assert_eq!(join_objection(&health("+++-"), &joining), None);
        assert_eq!(join_objection(&health("+-+-"), &joining).unwrap(), "b does not answer");
        let mut strange = health("+++");
        let urls = vec!["https://10.0.0.9:2380".to_owned()];
        strange.unmanaged.push(Stranger { name: String::new(), id: 9, peer_urls: urls, learner: true, healthy: false });
        let expect = "etcd member (unstarted) (https://10.0.0.9:2380) is not in machines.nix";
        assert_eq!(join_objection(&strange, &joining).unwrap(), expect);
    }
}
