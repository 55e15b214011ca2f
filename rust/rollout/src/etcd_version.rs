//! etcd's version of a system, and problems of a change of it. Pure, but for the reads of a system in the local store and
//! on a host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use machinist_etcd::{
    stored::{Difference, Kind},
    upgrade::{Objection, objections},
    version::Version,
};
use machinist_model::NodeName;
use machinist_nix::{Nix, StorePath};
use machinist_remote::{Remote, RemoteError, quote};

use crate::{
    problem::{Problem, ProblemKind},
    step,
};

/// Path of etcd's unit in a system.
pub(crate) const UNIT: &str = "etc/systemd/system/etcd.service";

/// Time limit of reading a unit, and of a query of the store.
const BOUND: Duration = Duration::from_secs(30);

/// etcd as a system starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Path of its program.
    pub program: String,
    /// Its version. None if it cannot be recognised.
    pub version: Option<Version>,
}

impl Started {
    /// Reads etcd's unit. The version is that of the program's store path, which nixpkgs names `etcd-3.5.26`, or else
    /// the only one among the store paths in its closure: a wrapper refers to what it starts.
    pub(crate) fn of(unit: &str, closure: impl FnOnce(&StorePath) -> Vec<String>) -> Option<Self> {
        let program = program(unit)?.to_owned();
        let version = of_unit(unit).or_else(|| {
            let names = closure(&store_path(&program)?);
            let found: BTreeSet<Version> = names.iter().filter_map(|path| of_name(path)).collect();
            found.first().copied().filter(|_| found.len() == 1)
        });
        Some(Self { program, version })
    }
}

/// Returns etcd as a system in the local store starts it. None if it starts none.
#[must_use]
pub fn etcd_of(system: &StorePath, nix: &Nix) -> Option<Started> {
    let unit = fs::read_to_string(Path::new(system.as_str()).join(UNIT)).ok()?;
    Started::of(&unit, |path| {
        let closure = nix.closure(std::slice::from_ref(path)).unwrap_or_default();
        closure.iter().map(ToString::to_string).collect()
    })
}

/// Returns etcd as a system on a host starts it. None if it starts none.
///
/// # Errors
/// The connection fails.
pub(crate) fn etcd_on(remote: &dyn Remote, system: &str) -> Result<Option<Started>, RemoteError> {
    const LABEL: &str = "read the version of etcd";
    let script = format!("cat {} 2>/dev/null || true", quote(&format!("{system}/{UNIT}")));
    let unit = step::run(remote, LABEL, &script, BOUND)?.stdout_text();
    Ok(Started::of(&unit, |path| {
        let script = format!(
            "export PATH=/run/current-system/sw/bin:$PATH\nnix-store --query --requisites {} 2>/dev/null || true",
            quote(path.as_str())
        );
        let names = step::run(remote, LABEL, &script, BOUND).map(|output| output.stdout_text()).unwrap_or_default();
        names.lines().map(str::to_owned).collect()
    }))
}

/// Returns the program of a unit's last `ExecStart`, without systemd's prefixes.
fn program(unit: &str) -> Option<&str> {
    let started = unit.lines().filter_map(|line| line.trim().strip_prefix("ExecStart="));
    let first = started.filter_map(|line| line.split_whitespace().next()).next_back()?;
    Some(first.trim_start_matches(['@', '-', ':', '+', '!']))
}

fn store_path(program: &str) -> Option<StorePath> {
    let name = program.strip_prefix("/nix/store/")?.split('/').next()?;
    StorePath::parse(&format!("/nix/store/{name}")).ok()
}

/// Returns the version in the name of a store path of etcd or of its server, or of a path in it.
fn of_name(path: &str) -> Option<Version> {
    let name = path.strip_prefix("/nix/store/")?.split('/').next()?.split_once('-')?.1;
    Version::parse(name.strip_prefix("etcd-").or_else(|| name.strip_prefix("etcdserver-"))?)
}

/// Returns the version of the store path that a unit starts.
pub(crate) fn of_unit(unit: &str) -> Option<Version> {
    of_name(program(unit)?)
}

/// A member's change of etcd.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Program that its running system starts.
    pub before: Option<String>,
    /// etcd of its new system.
    pub after: Started,
}

/// Returns the problems of changes that cannot be judged: to a program whose version is not recognised, which may be older
/// than the data or forget members, and to another series while the version of a member is not known. `silent` are the
/// members with data whose version is not known. A program that stays the same is no change.
pub(crate) fn unknown_problems(
    changes: &BTreeMap<NodeName, Change>,
    running: &BTreeMap<NodeName, Version>,
    silent: &BTreeSet<NodeName>,
) -> Vec<Problem> {
    changes.iter().filter_map(|(node, change)| unknown_problem(node, change, running, silent)).collect()
}

fn unknown_problem(
    node: &NodeName,
    Change { before, after }: &Change,
    running: &BTreeMap<NodeName, Version>,
    silent: &BTreeSet<NodeName>,
) -> Option<Problem> {
    let Started { program, version } = after;
    if before.as_ref() == Some(program) {
        return None;
    }
    let Some(version) = version else {
        let text =
            format!("its etcd would be {program}, whose version cannot be recognised: it may not start on the data");
        let hint = "name the package by its version, as nixpkgs does: `services.etcd.package` with the `name` \
                    \"etcd-3.5.26\", or a wrapper of it with that name";
        return Some(refusal(node, text, hint.to_owned()));
    };
    if running.get(node).is_some_and(|own| own.series == version.series) {
        return None;
    }
    // The rules need the others' versions. Those of a member that is down are enough for it to follow them.
    let knows_others = running.keys().any(|other| other != node);
    let unknown: Vec<&str> =
        silent.iter().filter(|other| *other != node || !knows_others).map(NodeName::as_str).collect();
    if unknown.is_empty() {
        return None;
    }
    let text = format!("its etcd would be {version}, and the version that runs on {} is not known", unknown.join(", "));
    Some(refusal(
        node,
        text,
        "`machinist etcd status` shows the members; a change within one minor version works".to_owned(),
    ))
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

    use machinist_nix::StorePath;

    use super::{Change, Started, of_unit, only_follows, stored_problem, unknown_problems};

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    /// Parses `a=3.5.16 b=3.5.26`.
    fn versions(text: &str) -> BTreeMap<NodeName, Version> {
        let pair = |pair: &str| pair.split_once('=').map(|(name, text)| (node(name), Version::parse(text).unwrap()));
        text.split_whitespace().filter_map(pair).collect()
    }

    /// Checks the change of `a` from `before` to `program`, with a version in it if it ends with one. `silent` are members
    /// of an unknown version.
    #[track_caller]
    fn check_unknown(before: &str, program: &str, running: &str, silent: &str, expect: &[&str]) {
        let after = Started { program: program.to_owned(), version: Version::parse(program) };
        let changes = BTreeMap::from([(node("a"), Change { before: Some(before.to_owned()), after })]);
        let silent = silent.split_whitespace().map(node).collect();
        let found = unknown_problems(&changes, &versions(running), &silent);
        assert!(found.iter().all(|problem| problem.refuses && problem.hint.is_some()));
        let found: Vec<String> = found.into_iter().map(|problem| problem.text).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn an_etcd_whose_version_is_not_recognised_is_refused_unless_it_stays() {
        let mine = "its etcd would be mine, whose version cannot be recognised: it may not start on the data";
        check_unknown("other", "mine", "a=3.5.26 b=3.5.26", "", &[mine]);
        check_unknown("mine", "mine", "a=3.5.26 b=3.5.26", "", &[]);
        check_unknown("other", "3.6.12", "a=3.5.26 b=3.5.26", "", &[]);
    }

    #[test]
    fn another_series_beside_members_of_an_unknown_version_is_refused() {
        let text = "its etcd would be 3.6.12, and the version that runs on b is not known";
        check_unknown("other", "3.6.12", "a=3.5.26 c=3.5.26", "b", &[text]);
        check_unknown("other", "3.5.31", "a=3.5.26 c=3.5.26", "b", &[]);
        check_unknown("other", "3.6.12", "b=3.6.12 c=3.6.12", "a", &[]);
        let alone = "its etcd would be 3.6.12, and the version that runs on a is not known";
        check_unknown("other", "3.6.12", "", "a", &[alone]);
        check_unknown("other", "3.6.12", "", "", &[]);
    }

    #[test]
    fn a_wrapper_has_the_version_of_the_etcd_in_its_closure() {
        let path = |name: &str| format!("/nix/store/{}-{name}", "0".repeat(32));
        let unit = format!("[Service]\nExecStart=\nExecStart=+{}/bin/etcd --name a\n", path("mine"));
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| path(name)).collect();
            let closure = |of: &StorePath| {
                assert_eq!(of.as_str(), path("mine"));
                names
            };
            Started::of(&unit, closure).unwrap().version.map(|version| version.to_string())
        };
        assert_eq!(of(&["glibc-2.40", "etcdserver-3.5.26", "etcdctl-3.4.1"]).as_deref(), Some("3.5.26"));
        assert_eq!(of(&["etcd-3.5.26", "etcdserver-3.5.26"]).as_deref(), Some("3.5.26"));
        assert_eq!(of(&["etcd-3.5.26", "etcd-3.6.12"]), None);
        assert_eq!(of(&["glibc-2.40"]), None);
    }

    #[test]
    fn a_member_that_went_back_alone_may_follow_the_others() {
        let of = versions;
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
