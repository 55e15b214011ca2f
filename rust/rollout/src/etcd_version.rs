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

pub(crate) fn refusal(node: &NodeName, text: String, hint: String) -> Problem {
    Problem { node: node.clone(), kind: ProblemKind::Skew, refuses: true, text, hint: Some(hint) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_etcd::stored::{Difference, Kind};
    use machinist_model::NodeName;

    use super::{of_unit, stored_problem};

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
