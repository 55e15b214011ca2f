//! Checks of etcd.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use machinist_etcd::etcd::client_url;
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};
use machinist_rollout::script;

use super::{
    report::{Earlier, Finding, Problem},
    run::{LOOK, output},
    site::Site,
};
use crate::rollout::target::voters;

/// Keys that a test writes, besides those of a mesh.
const PREFIX: &str = "machinist/test/";

/// Lifetime of a key that nothing removes, in seconds.
pub(super) const LEASE: &str = "60";

const ROUND_TRIP: &str = include_str!("round-trip.sh");

/// Reason for the skip without a member.
const NO_MEMBER: &str = "no target is a member of etcd";

/// Every member is healthy.
pub(super) fn members(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let all = voters(&site.cluster);
    if all.is_empty() {
        return Finding::skipped("the cluster has no etcd");
    }
    if !site.targets.iter().any(|node| all.contains_key(node)) {
        return Finding::skipped(NO_MEMBER);
    }
    let mut finding = Finding::about(all.keys().cloned());
    let Some(health) = &site.etcd else {
        let hint = Some("see `machinist status`, and `journalctl -u etcd` on a member".to_owned());
        finding.problem(Problem::of_cluster("no member of etcd answers").hint(hint));
        return finding;
    };
    for (node, member) in &health.members {
        if earlier.has("reachable", node) {
            finding.nodes.remove(node);
            finding.notes.push(format!("without {node}: reachable failed there"));
        } else if !member.problems.is_empty() {
            finding.problem(Problem::on(node, format!("its member {}", member.problems.join(", "))));
        }
    }
    if health.leader.is_none() {
        finding.problem(Problem::of_cluster("etcd has no leader among the members of machines.nix"));
    }
    for stranger in &health.unmanaged {
        finding.problem(Problem::of_cluster(format!("etcd has a member that machines.nix does not know: {stranger}")));
    }
    if let Some(alarm) = health.quota_notice() {
        finding.problem(Problem::of_cluster(alarm).hint(Some("`machinist etcd status` explains it".to_owned())));
    }
    finding
}

/// A key goes through each member to every member.
pub(super) fn data(site: &Site<'_>, earlier: &Earlier) -> Finding {
    let all = voters(&site.cluster);
    let Some(health) = &site.etcd else { return Finding::skipped(NO_MEMBER) };
    let mut sound = earlier.without(&["reachable", "etcd-members"], all.keys().cloned());
    // A member on a node that does not answer SSH may answer the others.
    let is_healthy = |node: &NodeName| health.members.get(node).is_some_and(|member| member.problems.is_empty());
    let readers: Vec<(NodeName, IpAddr)> = all.into_iter().filter(|(node, _)| is_healthy(node)).collect();
    sound.nodes.retain(|node| readers.iter().any(|(reader, _)| reader == node) && site.remote(node).is_some());
    let writers = sound.nodes.clone();
    let done = site.each(&writers, |node, remote| round_trip(site, node, remote, &readers));
    for (node, problems) in done {
        problems.iter().for_each(|why| sound.problem(Problem::on(&node, why)));
    }
    sound
}

fn round_trip(site: &Site<'_>, node: &NodeName, remote: &dyn Remote, readers: &[(NodeName, IpAddr)]) -> Vec<String> {
    let Some(ip) = voters(&site.cluster).get(node).copied() else { return Vec::new() };
    let members: Vec<String> = readers.iter().map(|(name, ip)| format!("{name}={}", client_url(*ip))).collect();
    let variables = [
        ("endpoint", client_url(ip)),
        ("key", format!("{PREFIX}{}/{node}", site.mark)),
        ("value", format!("{}-{node}", site.mark)),
        ("seconds", LEASE.to_owned()),
        ("members", members.join(" ")),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    // Each member has its time limits in the script.
    let bound = LOOK + Duration::from_secs(10) * u32::try_from(readers.len()).unwrap_or(u32::MAX);
    let request = Request::new("write and read through etcd", script::with(&variables, ROUND_TRIP)).timeout(bound);
    match output(node, remote, request) {
        Ok(text) => missing(&text, readers),
        Err(why) => vec![format!("a key cannot be written through its member: {why}")],
    }
}

/// Returns a problem for each member that did not return the value, and one if the key was not removed.
fn missing(text: &str, readers: &[(NodeName, IpAddr)]) -> Vec<String> {
    let read: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("read ")).collect();
    let absent = readers.iter().filter(|(node, _)| !read.contains(node.as_str()));
    let mut problems: Vec<String> = absent
        .map(|(node, _)| format!("a key that was written through its member is not read back through that of {node}"))
        .collect();
    if !text.lines().any(|line| line == "removed") {
        problems.push(format!("the key could not be removed; its lease ends in {LEASE} s"));
    }
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use machinist_model::NodeName;
    use machinist_rollout::script;

    use super::{ROUND_TRIP, missing};

    fn readers() -> Vec<(NodeName, std::net::IpAddr)> {
        ["a", "b"].map(|name| (NodeName::parse(name).unwrap(), "10.0.0.1".parse().unwrap())).into()
    }

    #[test]
    fn each_member_that_does_not_return_the_value_is_a_problem() {
        assert_eq!(missing("read a\nread b\nremoved\n", &readers()), Vec::<String>::new());
        assert!(missing("read a\nremoved\n", &readers())[0].contains("that of b"));
        assert_eq!(missing("", &readers()).len(), 3);
    }

    /// Runs the script with a stand-in for etcdctl that keeps one value in a file; `broken` is an endpoint that returns
    /// nothing.
    fn run(broken: &str) -> (String, String) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("machinist-etcdctl");
        let text = format!(
            "#!/bin/sh\ncd {}\nwhile :; do case $1 in --endpoints=*) at=${{1#*=}}; shift ;; --*) shift ;; *) break ;; esac; done\n\
             echo \"$*\" >>calls\ncase $1 in\n  lease) [ $2 = grant ] && echo 'lease 1a2b granted with TTL(60s)'; exit 0 ;;\n\
             put) for last; do :; done; echo \"$last\" >value ;;\n  get) [ \"$at\" = {broken} ] || cat value ;;\nesac\n",
            folder.path().display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let variables = [("endpoint", "ua"), ("key", "k"), ("value", "v"), ("seconds", "60"), ("members", "a=ua b=ub")];
        let script = script::with(&variables, ROUND_TRIP);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), fs::read_to_string(folder.path().join("calls")).unwrap())
    }

    #[test]
    fn the_key_has_a_lease_and_is_removed_also_when_a_member_does_not_have_it() {
        let (text, calls) = run("none");
        assert_eq!(text, "read a\nread b\nremoved\n");
        assert!(calls.contains("put --lease=1a2b k v") && calls.ends_with("lease revoke 1a2b\n"), "{calls}");
        let (text, calls) = run("ub");
        assert_eq!(text, "read a\nremoved\n");
        assert!(calls.ends_with("lease revoke 1a2b\n"), "{calls}");
    }
}
