//! etcd's version of a system, and problems of a change of it. Pure, but for the read of a system in the local store.

use std::{collections::BTreeMap, fs, path::Path};

use machinist_etcd::{
    stored::{Difference, Kind},
    upgrade::{Objection, objections},
    version::Version,
};
use machinist_model::NodeName;
use machinist_nix::StorePath;

use crate::problem::{Problem, ProblemKind};

/// Path of etcd's unit in a system.
pub(crate) const UNIT: &str = "etc/systemd/system/etcd.service";

/// Returns the version of etcd that a system in the local store starts. None if it starts none.
#[must_use]
pub fn etcd_of(system: &StorePath) -> Option<Version> {
    of_unit(&fs::read_to_string(Path::new(system.as_str()).join(UNIT)).ok()?)
}

/// Reads the version from the store path in the unit's `ExecStart`, which nixpkgs names `etcd-3.5.26`.
pub(crate) fn of_unit(unit: &str) -> Option<Version> {
    let started = unit.lines().filter_map(|line| line.trim().strip_prefix("ExecStart="));
    let name = |line: &str| {
        let path = line.split("/bin/etcd").next()?;
        Version::parse(path.rsplit_once("-etcd-")?.1)
    };
    started.filter_map(name).next_back()
}

/// Returns why members must not change to these versions.
#[must_use]
pub(crate) fn problems(running: &BTreeMap<NodeName, Version>, after: &BTreeMap<NodeName, Version>) -> Vec<Problem> {
    let problem = |Objection { node, text, hint }| refusal(&node, text, hint);
    objections(running, after).into_iter().map(problem).collect()
}

/// Returns the problem of a member whose data differs from the members that etcd reports: a newer etcd would start with
/// these, or not at all (etcd-io/etcd#19557).
pub(crate) fn stored_problem(node: &NodeName, differences: &[Difference]) -> Option<Problem> {
    let words: Vec<String> = differences.iter().map(ToString::to_string).collect();
    let first = differences.first()?;
    let hint = match first.kind {
        Kind::Demoted => "`machinist upgrade` writes them again; then this again".to_owned(),
        Kind::Removed => format!("etcd 3.5.26 and newer remove it when they start: `systemctl restart etcd` on {node}"),
        Kind::Missing => format!("`machinist node replace {node}`"),
    };
    Some(refusal(node, format!("the data of its etcd has other members: {}", words.join("; ")), hint))
}

/// Returns true if all other members run the series that a member gets. Its etcd may be down: it went back to an older
/// one, which does not start any more, and needs this change.
pub(crate) fn only_follows(
    member: &NodeName,
    running: &BTreeMap<NodeName, Version>,
    after: &BTreeMap<NodeName, Version>,
) -> bool {
    let mut others = running.iter().filter(|(node, _)| *node != member).peekable();
    let Some(after) = after.get(member).filter(|_| others.peek().is_some()) else { return false };
    others.all(|(_, version)| version.series == after.series)
}

pub(crate) fn refusal(node: &NodeName, text: String, hint: String) -> Problem {
    Problem { node: node.clone(), kind: ProblemKind::Skew, refuses: true, text, hint: Some(hint) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use machinist_etcd::{
        stored::{Difference, Kind},
        version::Version,
    };
    use machinist_model::NodeName;

    use super::{of_unit, only_follows, stored_problem};

    #[test]
    fn a_member_that_went_back_alone_may_follow_the_others() {
        let node = |name: &str| NodeName::parse(name).unwrap();
        let of = |text: &str| -> BTreeMap<NodeName, Version> {
            let pair =
                |pair: &str| pair.split_once('=').map(|(name, text)| (node(name), Version::parse(text).unwrap()));
            text.split_whitespace().filter_map(pair).collect()
        };
        let back = of("a=3.6.16 b=3.6.16 c=3.5.35");
        assert!(only_follows(&node("c"), &back, &of("c=3.6.16")));
        assert!(only_follows(&node("c"), &of("a=3.6.16 b=3.6.16"), &of("c=3.6.16")), "it runs nothing");
        assert!(!only_follows(&node("b"), &of("a=3.6.16 b=3.5.35 c=3.5.35"), &of("b=3.6.16")));
        assert!(!only_follows(&node("c"), &of("c=3.5.35"), &of("c=3.6.16")), "the others are not known");
        assert!(!only_follows(&node("c"), &back, &of("a=3.6.16")), "it does not change");
    }

    #[test]
    fn the_version_is_in_the_path_that_the_unit_starts() {
        let unit = |path: &str| format!("[Service]\nEnvironment=X=1\nExecStart={path}\nType=notify\n");
        let hash = "0".repeat(32);
        let of = |name: &str| of_unit(&unit(&format!("/nix/store/{hash}-{name}/bin/etcd"))).map(|v| v.to_string());
        assert_eq!(of("etcd-3.5.26").as_deref(), Some("3.5.26"));
        assert_eq!(of("etcd-3.6.0-rc.1").as_deref(), Some("3.6.0"));
        assert_eq!(of("mine"), None);
        assert_eq!(of_unit("[Unit]\n"), None);
    }

    #[test]
    fn each_difference_of_the_data_is_named_with_a_way_out() {
        let node = NodeName::parse("a").unwrap();
        let of = |kind| stored_problem(&node, &[Difference { id: 255, name: "b".to_owned(), kind }]).unwrap();
        let demoted = of(Kind::Demoted);
        assert!(demoted.refuses && demoted.hint.unwrap().contains("machinist upgrade"));
        assert_eq!(demoted.text, "the data of its etcd has other members: b (ff) votes, and is a learner there");
        assert!(of(Kind::Removed).hint.unwrap().contains("restart etcd` on a"));
        assert!(of(Kind::Missing).hint.unwrap().contains("replace a"));
        assert_eq!(stored_problem(&node, &[]), None);
    }
}
