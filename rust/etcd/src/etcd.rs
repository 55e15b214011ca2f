//! Health of an etcd cluster, as reported by `etcdctl` on a node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use machinist_model::{NodeName, quorum};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::alarm::{self, Alarm};

/// Queries the whole cluster from one node, with timeouts and the node's own client certificate (`machinist-etcdctl`
/// comes with `modules/etcd.nix`). Exits with etcdctl's status; prints the two results on one line each.
pub const PROBE: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
command -v machinist-etcdctl >/dev/null || { echo 'machinist-etcdctl is not installed' >&2; exit 127; }
machinist-etcdctl --command-timeout=3s --dial-timeout=2s member list --write-out=json || exit 3
echo
machinist-etcdctl --command-timeout=3s --dial-timeout=2s endpoint status --cluster --write-out=json
echo
";

/// Moves the leadership to another member; must run against the leader itself. Input variables: endpoint (the leader's
/// URL) and heir (the member's identifier, hexadecimal).
pub const MOVE_LEADER: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=10s --dial-timeout=2s --endpoints=\"$endpoint\" move-leader \"$heir\"
";

/// Returns an identifier in etcdctl's notation.
#[must_use]
pub fn hexadecimal(id: u64) -> String {
    format!("{id:x}")
}

/// Returns the member's client URL.
#[must_use]
pub fn client_url(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("https://{ip}:2379"),
        IpAddr::V6(ip) => format!("https://[{ip}]:2379"),
    }
}

/// Returns the member's peer URL.
#[must_use]
pub fn peer_url(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("https://{ip}:2380"),
        IpAddr::V6(ip) => format!("https://[{ip}]:2380"),
    }
}

/// Maximum lag of a member's applied index behind the leader's, in entries. etcd itself considers a learner ready at 90
/// % of the leader's log; a voter in a healthy cluster is a few entries behind.
const MAX_LAG: u64 = 500;

/// State of the cluster, as seen from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The voting members of the configuration, sorted by name.
    pub members: BTreeMap<NodeName, Member>,
    /// Members of the running cluster that are not in the configuration.
    pub unmanaged: Vec<Stranger>,
    /// The leader, if it is one of `members`.
    pub leader: Option<NodeName>,
    /// Members that raised the quota alarm, by name, or by identifier if the name is unknown. They still vote.
    pub over_quota: BTreeSet<String>,
}

/// A member of the running cluster that is not in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranger {
    /// Name of the member; empty if it has never started.
    pub name: String,
    /// Identifier of the member in the running cluster.
    pub id: u64,
    /// Peer URLs of the member.
    pub peer_urls: Vec<String>,
    /// True for a learner, which does not vote.
    pub learner: bool,
    /// True if it answered without problems.
    pub healthy: bool,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(unstarted)" } else { &self.name };
        write!(f, "{name} ({})", self.peer_urls.join(", "))
    }
}

/// One voting member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Problems as verb phrases, such as `does not answer`; empty if it is healthy.
    pub problems: Vec<String>,
    /// True if it has started before: etcd only learns client URLs from the member itself.
    pub started: bool,
    /// etcd's version, if it answered.
    pub version: Option<String>,
    /// Size of its database in bytes, if it answered.
    pub database_bytes: Option<u64>,
    /// Bytes of the database in use, if it answered; the rest is freed by a defragmentation.
    pub used_bytes: Option<u64>,
    /// Identifier of the member in the running cluster.
    pub id: Option<u64>,
    /// True while it is a learner, which does not vote.
    pub learner: bool,
    /// Index of the last applied entry, if it answered.
    pub applied: Option<u64>,
}

/// Error of a probe.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No member answered.
    #[error("no response from etcd: {0}")]
    NoAnswer(String),
    /// The output is not valid JSON of the expected form.
    #[error("invalid output of etcdctl")]
    Format(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct MemberList {
    members: Vec<ListedMember>,
}

#[derive(Deserialize)]
struct ListedMember {
    #[serde(rename = "ID")]
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
    #[serde(default, rename = "isLearner")]
    is_learner: bool,
}

#[derive(Deserialize)]
struct EndpointStatus {
    #[serde(rename = "Status")]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    header: Header,
    version: String,
    #[serde(default)]
    leader: u64,
    #[serde(default)]
    db_size: u64,
    #[serde(default)]
    db_size_in_use: u64,
    #[serde(default)]
    raft_term: u64,
    #[serde(default)]
    raft_applied_index: u64,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    member_id: u64,
}

/// Parses the output of [`PROBE`]. `expected` maps the voters of the configuration to their addresses.
///
/// # Errors
/// No response, or invalid output.
pub fn assess(stdout: &str, stderr: &str, expected: &BTreeMap<NodeName, IpAddr>) -> Result<Health, ProbeError> {
    let mut lines = stdout.lines().filter(|line| !line.trim().is_empty());
    let Some(list) = lines.next() else { return Err(ProbeError::NoAnswer(last_line(stderr))) };
    let list: MemberList = serde_json::from_str(list).map_err(ProbeError::Format)?;
    // Without a reachable endpoint the second line is missing.
    let statuses: Vec<EndpointStatus> =
        lines.next().map_or(Ok(Vec::new()), serde_json::from_str).map_err(ProbeError::Format)?;
    let statuses: BTreeMap<u64, Status> = statuses.into_iter().map(|s| (s.status.header.member_id, s.status)).collect();
    Ok(evaluate(&list.members, &statuses, expected))
}

fn evaluate(
    listed: &[ListedMember],
    statuses: &BTreeMap<u64, Status>,
    expected: &BTreeMap<NodeName, IpAddr>,
) -> Health {
    let newest = statuses.values().map(|status| status.raft_applied_index).max().unwrap_or(0);
    let term = statuses.values().map(|status| status.raft_term).max().unwrap_or(0);
    let mut members = BTreeMap::new();
    let mut leader = None;
    for (name, ip) in expected {
        let found = listed.iter().find(|listed| is_at(listed, *ip));
        let status = found.and_then(|listed| statuses.get(&listed.id));
        if let (Some(found), Some(status)) = (found, status)
            && status.leader == found.id
        {
            leader = Some(name.clone());
        }
        let problems = problems(found, status, newest, term);
        let version = status.map(|status| status.version.clone());
        let started = found.is_some_and(|found| !found.client_urls.is_empty());
        let database_bytes = status.map(|status| status.db_size);
        let used_bytes = status.map(|status| status.db_size_in_use);
        let (id, applied) = (found.map(|listed| listed.id), status.map(|status| status.raft_applied_index));
        let learner = found.is_some_and(|listed| listed.is_learner);
        let member = Member { problems, started, version, database_bytes, used_bytes, id, learner, applied };
        members.insert(name.clone(), member);
    }
    let known = |listed: &&ListedMember| !expected.values().any(|ip| is_at(listed, *ip));
    let stranger = |listed: &ListedMember| Stranger {
        name: listed.name.clone(),
        id: listed.id,
        peer_urls: listed.peer_urls.clone(),
        learner: listed.is_learner,
        healthy: problems(Some(listed), statuses.get(&listed.id), newest, term).is_empty(),
    };
    let unmanaged = listed.iter().filter(known).map(stranger).collect();
    let over_quota = over_quota(listed, statuses);
    Health { members, unmanaged, leader, over_quota }
}

/// Returns the members that raised the quota alarm. Every member reports all alarms, including those of removed
/// members.
fn over_quota(listed: &[ListedMember], statuses: &BTreeMap<u64, Status>) -> BTreeSet<String> {
    let label = |id: u64| {
        let named = listed.iter().find(|member| member.id == id && !member.name.is_empty());
        named.map_or_else(|| hexadecimal(id), |member| member.name.clone())
    };
    let raised = |line: &String| match Alarm::parse(line) {
        Alarm::NoSpace { member } => Some(member.map_or_else(|| "a member".to_owned(), label)),
        Alarm::Other(_) => None,
    };
    statuses.values().flat_map(|status| &status.errors).filter_map(raised).collect()
}

fn problems(found: Option<&ListedMember>, status: Option<&Status>, newest: u64, term: u64) -> Vec<String> {
    let Some(found) = found else { return vec!["is not a member of the running cluster".to_owned()] };
    let Some(status) = status else { return vec!["does not answer".to_owned()] };
    let mut problems = Vec::new();
    if found.is_learner {
        problems.push("is a learner, not a voter".to_owned());
    }
    if status.leader == 0 {
        problems.push("sees no leader".to_owned());
    }
    if status.raft_term != term {
        problems.push(format!("is in raft term {}, others in {term}", status.raft_term));
    }
    let lag = newest.saturating_sub(status.raft_applied_index);
    if lag > MAX_LAG {
        problems.push(format!("is {lag} entries behind"));
    }
    let broken = status.errors.iter().filter(|error| matches!(Alarm::parse(error), Alarm::Other(_)));
    problems.extend(broken.map(|error| format!("raises {}", error.trim())));
    problems
}

/// Returns `true` if the member's peer address is the node's. A member that has never started has no name, so names
/// prove nothing.
fn is_at(listed: &ListedMember, ip: IpAddr) -> bool {
    let host = match ip {
        IpAddr::V4(ip) => format!("://{ip}:"),
        IpAddr::V6(ip) => format!("://[{ip}]:"),
    };
    listed.peer_urls.iter().any(|url| url.contains(&host))
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output").trim().to_owned()
}

impl Health {
    /// Removes members of the configuration that are missing in the running cluster. k3s servers join one by one; until
    /// then they have no vote.
    #[must_use]
    pub fn without_absent(mut self) -> Self {
        self.members.retain(|_, member| member.id.is_some());
        self
    }

    /// Returns the number of healthy voters.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.members.values().filter(|member| member.problems.is_empty()).count()
    }

    /// Returns `true` if every voter is healthy and there are no unmanaged members.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.healthy() == self.members.len() && self.unmanaged.is_empty()
    }

    /// Returns the members whose addresses differ from the configuration, each with its peer URLs.
    pub fn moved(&self) -> impl Iterator<Item = (&NodeName, String)> {
        let gone = self.members.iter().filter(|(_, member)| member.id.is_none());
        gone.filter_map(|(name, _)| {
            let found = self.unmanaged.iter().find(|stranger| stranger.name == name.as_str())?;
            Some((name, found.peer_urls.join(", ")))
        })
    }

    /// Returns the message about a quota alarm, or `None` if etcd accepts writes.
    #[must_use]
    pub fn quota_notice(&self) -> Option<String> {
        alarm::quota_notice(&self.over_quota)
    }

    /// Returns why the member must not be stopped now, or `None` if the others hold a quorum without it.
    ///
    /// A single member may be stopped: there is no other way to change it.
    #[must_use]
    pub fn objection(&self, away: &NodeName) -> Option<String> {
        let voters = self.members.len() + self.unmanaged.len();
        let others = self.members.iter().filter(|(name, _)| *name != away);
        let healthy = others.filter(|(_, member)| member.problems.is_empty()).count();
        if voters <= 1 || healthy >= quorum::quorum(voters) {
            return None;
        }
        let broken: Vec<String> =
            self.broken().filter(|(name, _)| *name != away).map(|(n, p)| format!("{n} {p}")).collect();
        let why = if broken.is_empty() { String::new() } else { format!(" ({})", broken.join("; ")) };
        Some(format!(
            "without {away} only {healthy} of {voters} etcd members would be healthy, a quorum needs {}{why}",
            quorum::quorum(voters)
        ))
    }

    /// Returns the best follower to lead, with its identifier: the healthy one with the highest applied index, by name
    /// if equal. `None` without a leader or another healthy member.
    #[must_use]
    pub fn heir(&self) -> Option<(&NodeName, u64)> {
        let leader = self.leader.as_ref()?;
        let fit = self.members.iter().filter(|(name, member)| *name != leader && member.problems.is_empty());
        let (name, member) = fit.max_by_key(|(name, member)| (member.applied, std::cmp::Reverse(*name)))?;
        Some((name, member.id?))
    }

    /// Returns the unhealthy members, each with its problems as one text.
    pub fn broken(&self) -> impl Iterator<Item = (&NodeName, String)> {
        let broken = self.members.iter().filter(|(_, member)| !member.problems.is_empty());
        broken.map(|(name, member)| (name, member.problems.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::IpAddr,
    };

    use machinist_model::NodeName;

    use super::{Health, MAX_LAG, Member, ProbeError, assess, client_url, peer_url};

    const MEMBERS: &str = r#"{"header":{"cluster_id":1,"member_id":2,"raft_term":3},"members":[
        {"ID":18446744073709551615,"name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]},
        {"ID":2,"name":"b","peerURLs":["https://10.0.0.2:2380"]},{"ID":3,"name":"c","peerURLs":["https://10.0.0.10:2380"]}]}"#;

    fn status(id: u64, leader: u64, applied: u64, extra: &str) -> String {
        format!(
            r#"{{"Endpoint":"x","Status":{{"header":{{"cluster_id":1,"member_id":{id},"revision":1,"raft_term":3}},"version":"3.5.16","dbSize":20480,"leader":{leader},"raftIndex":{applied},"raftTerm":3,"raftAppliedIndex":{applied},"dbSizeInUse":1{extra}}}}}"#
        )
    }

    fn health(statuses: &[String]) -> Health {
        let stdout = format!("{}\n\n[{}]\n", MEMBERS.replace('\n', ""), statuses.join(","));
        let name = |text: &str| NodeName::parse(text).unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected: BTreeMap<_, _> =
            [(name("a"), ip("10.0.0.1")), (name("b"), ip("10.0.0.2")), (name("c"), ip("10.0.0.10"))].into();
        assess(&stdout, "", &expected).unwrap()
    }

    fn all() -> [String; 3] {
        [status(u64::MAX, 2, 100, ""), status(2, 2, 101, ""), status(3, 2, 100, "")]
    }

    #[track_caller]
    fn check(health: &Health, away: &str, expect: Option<&str>) {
        assert_eq!(health.objection(&NodeName::parse(away).unwrap()).as_deref(), expect);
    }

    #[test]
    fn three_that_agree_are_whole_and_one_may_go() {
        let health = health(&all());
        assert!(health.is_whole(), "{health:?}");
        let started: Vec<bool> = health.members.values().map(|member| member.started).collect();
        assert_eq!(started, [true, false, false], "only `a` has published its client URLs");
        assert_eq!(health.leader.as_ref().unwrap().as_str(), "b");
        check(&health, "a", None);
    }

    #[test]
    fn urls_of_ipv6_addresses_have_brackets() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(client_url(ip("10.0.0.1")), "https://10.0.0.1:2379");
        assert_eq!(client_url(ip("fd00::1")), "https://[fd00::1]:2379");
        assert_eq!(peer_url(ip("10.0.0.1")), "https://10.0.0.1:2380");
        assert_eq!(peer_url(ip("fd00::1")), "https://[fd00::1]:2380");
    }

    #[test]
    fn a_cluster_is_whole_without_sick_members_and_strangers() {
        assert!(!health(&all()[..2]).is_whole(), "c does not answer");
        let stdout = format!("{}\n[{}]\n", MEMBERS.replace('\n', ""), all().join(","));
        let at = |text: &str, ip: &str| (NodeName::parse(text).unwrap(), ip.parse::<IpAddr>().unwrap());
        let strange = assess(&stdout, "", &[at("a", "10.0.0.1"), at("b", "10.0.0.2")].into()).unwrap();
        assert_eq!(strange.healthy(), strange.members.len());
        assert!(!strange.is_whole(), "c is unmanaged");
    }

    #[test]
    fn a_member_may_lag_as_far_as_the_limit() {
        let newest = 1_000 + MAX_LAG;
        let lagging =
            |applied| health(&[status(u64::MAX, 2, applied, ""), status(2, 2, newest, ""), status(3, 2, newest, "")]);
        assert!(lagging(1_000).is_whole());
        assert!(!lagging(999).is_whole());
    }

    #[test]
    fn a_member_that_is_down_forbids_taking_a_second_one_but_not_itself() {
        let health = health(&all()[..2]);
        assert_eq!(health.healthy(), 2);
        check(&health, "c", None);
        check(
            &health,
            "a",
            Some("without a only 1 of 3 etcd members would be healthy, a quorum needs 2 (c does not answer)"),
        );
    }

    #[test]
    fn alarms_lag_and_a_missing_leader_are_problems() {
        let [_, b, c] = all();
        let alarm =
            health(&[status(u64::MAX, 2, 100, r#","errors":["memberID:2 alarm:CORRUPT "]"#), b.clone(), c.clone()]);
        assert_eq!(alarm.broken().next().unwrap().1, "raises memberID:2 alarm:CORRUPT");
        let behind = health(&[status(u64::MAX, 2, 1, ""), status(2, 2, 10_000, ""), status(3, 0, 10_000, "")]);
        assert_eq!(
            behind.broken().map(|(_, why)| why).collect::<Vec<_>>(),
            ["is 9999 entries behind", "sees no leader"]
        );
    }

    #[test]
    fn a_quota_alarm_names_its_members_and_costs_no_vote() {
        // The response of etcd 3.4.23: every member reports the alarms of all.
        let errors = r#","errors":["memberID:2 alarm:NOSPACE ","memberID:12 alarm:NOSPACE "]"#;
        let full = health(&[status(u64::MAX, 2, 100, errors), status(2, 2, 100, errors), status(3, 2, 100, errors)]);
        assert!(full.is_whole(), "{full:?}");
        check(&full, "a", None);
        assert_eq!(
            full.quota_notice().unwrap(),
            "etcd refuses writes: the database exceeded its quota (alarm NOSPACE, raised by b, c)"
        );
        assert_eq!(health(&all()).quota_notice(), None);
    }

    #[test]
    fn a_member_that_etcd_has_at_another_address_is_found_by_its_name() {
        let moved = MEMBERS.replace('\n', "").replace("10.0.0.2:2380", "10.0.0.22:2380");
        let stdout = format!("{moved}\n[{}]\n", all().join(","));
        let at = |text: &str, ip: &str| (NodeName::parse(text).unwrap(), ip.parse::<IpAddr>().unwrap());
        let expected = [at("a", "10.0.0.1"), at("b", "10.0.0.2"), at("c", "10.0.0.10"), at("d", "10.0.0.11")].into();
        let health = assess(&stdout, "", &expected).unwrap();
        let found: Vec<(String, String)> = health.moved().map(|(name, urls)| (name.to_string(), urls)).collect();
        assert_eq!(found, [("b".to_owned(), "https://10.0.0.22:2380".to_owned())], "d is new and has not moved");
    }

    #[test]
    fn a_server_that_has_not_come_yet_has_no_vote() {
        let alone = MEMBERS.replace('\n', "").replace(r#""https://10.0.0.10:2380""#, "");
        let stdout = format!("{alone}\n[{},{}]\n", status(u64::MAX, 2, 100, ""), status(2, 2, 101, ""));
        let name = |text: &str| NodeName::parse(text).unwrap();
        let at = |text: &str, ip: &str| (name(text), ip.parse::<IpAddr>().unwrap());
        let expected = [at("a", "10.0.0.1"), at("b", "10.0.0.2"), at("c", "10.0.0.10"), at("d", "10.0.0.11")].into();
        let health = assess(&stdout, "", &expected).unwrap().without_absent();
        assert_eq!(health.members.keys().map(NodeName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert!(health.objection(&name("a")).is_some(), "the stranger without an address votes: 1 of 3 would stay");
    }

    #[test]
    fn an_unmanaged_member_counts_as_a_voter() {
        let stdout = format!("{}\n[{}]\n", MEMBERS.replace('\n', ""), all().join(","));
        let only_a = [(NodeName::parse("a").unwrap(), "10.0.0.1".parse().unwrap())].into();
        let health = assess(&stdout, "", &only_a).unwrap();
        assert_eq!(health.unmanaged.len(), 2);
        assert!(health.objection(&NodeName::parse("a").unwrap()).is_some());
    }

    #[test]
    fn a_single_member_may_be_stopped() {
        let stdout = r#"{"members":[{"ID":1,"name":"a","peerURLs":["https://[fd00::1]:2380"]}]}"#;
        let a = NodeName::parse("a").unwrap();
        let health = assess(stdout, "", &[(a.clone(), "fd00::1".parse().unwrap())].into()).unwrap();
        assert_eq!(health.broken().next().unwrap().1, "does not answer");
        assert_eq!(health.objection(&a), None);
    }

    #[test]
    fn a_missing_response_is_reported_in_etcdctl_s_words() {
        let error = assess("\n", "x\nError: context deadline exceeded\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "no response from etcd: Error: context deadline exceeded");
        assert!(matches!(assess("{}", "", &BTreeMap::new()), Err(ProbeError::Format(_))));
    }

    #[test]
    fn the_heir_is_the_healthy_follower_that_applied_most() {
        let heir = |statuses: &[String]| health(statuses).heir().map(|(name, id)| (name.to_string(), id));
        let [a, b, c] = all();
        assert_eq!(heir(&[a.clone(), b.clone(), c]), Some(("a".to_owned(), u64::MAX)));
        assert_eq!(heir(&[a.clone(), b.clone(), status(3, 2, 101, "")]), Some(("c".to_owned(), 3)));
        assert_eq!(heir(&[status(u64::MAX, 2, 1, ""), b.clone(), status(3, 2, 600, "")]), Some(("c".to_owned(), 3)));
        assert_eq!(heir(&[b]), None, "no other member is healthy");
        assert_eq!(heir(&[status(u64::MAX, 0, 100, "")]), None, "no leader");
    }

    proptest::proptest! {
        #[test]
        fn a_permitted_stop_leaves_a_quorum_of_healthy_members(healthy in proptest::collection::vec(proptest::bool::ANY, 2..9), away in 0_usize..9) {
            let name = |n: usize| NodeName::parse(&format!("n{n}")).unwrap();
            let problems = |well: bool| if well { Vec::new() } else { vec!["does not answer".to_owned()] };
            let member = |(n, well): (usize, &bool)| (name(n), Member { problems: problems(*well), ..Member::default() });
            let members: BTreeMap<_, _> = healthy.iter().enumerate().map(member).collect();
            let voters = members.len();
            let health = Health { members, unmanaged: Vec::new(), leader: None, over_quota: BTreeSet::new() };
            let away = away % voters;
            let left = healthy.iter().enumerate().filter(|(n, well)| **well && *n != away).count();
            proptest::prop_assert_eq!(health.objection(&name(away)).is_none(), left > voters / 2);
        }
    }
}
