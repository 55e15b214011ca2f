//! etcd versions that members may change to, and the steps between. Pure.
//!
//! A cluster has the version of its oldest member (etcd.io, "Upgrading"). Members may be one minor version ahead of it, and
//! none may be behind: once all members run a minor version, etcd refuses to start an older one on their data.

use std::collections::BTreeMap;

use machinist_model::NodeName;

use crate::version::{Series, Version};

/// Least version that all members must run before the series named first.
///
/// Members that were promoted under 3.5.1 to 3.5.19 are learners again for 3.6 (etcd-io/etcd#19557), and removed members
/// come back; 3.5.26 corrects both (etcd-io/etcd#20793).
const LEAST_BEFORE: [(Series, Version); 1] = [(Series { major: 3, minor: 6 }, Version::new(3, 5, 26))];

/// Versions whose promotions of learners do not reach the data that 3.6 reads (etcd-io/etcd#19557).
const FORGETS_PROMOTIONS: [Version; 2] = [Version::new(3, 5, 1), Version::new(3, 5, 19)];

/// A stage before the last one of an upgrade: all members run a version of this series first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The series.
    pub series: Series,
    /// The least version of it.
    pub least: Version,
}

/// A version that a member must not change to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The member's node.
    pub node: NodeName,
    /// Description, which follows the node's name.
    pub text: String,
    /// A remedy.
    pub hint: String,
}

/// Returns true if a promotion under this version is lost for 3.6.
#[must_use]
pub fn forgets_promotions(version: Version) -> bool {
    let [first, last] = FORGETS_PROMOTIONS;
    (first..=last).contains(&version)
}

/// Returns true if this version serves its members from the data that it starts with, so that they cannot differ.
#[must_use]
pub fn takes_members_from_its_data(version: Version) -> bool {
    version >= Version::new(3, 6, 0)
}

/// Returns true if a member enters a series that not all members run. etcd then reads the members from its data (3.6), or
/// changes its format, and the way back ends when the last member has followed.
#[must_use]
pub fn enters_series(running: &BTreeMap<NodeName, Version>, after: &BTreeMap<NodeName, Version>) -> bool {
    let Some(oldest) = oldest(running) else { return false };
    after.values().any(|version| version.series > oldest)
}

/// Returns the stages between the running versions and `to`, in order. Empty if all members may change to it at once.
#[must_use]
pub fn stages(running: &BTreeMap<NodeName, Version>, to: Version) -> Vec<Stage> {
    let Some(mut series) = oldest(running) else { return Vec::new() };
    let mut stages = Vec::new();
    while series.major == to.series.major && series < to.series {
        let least = least_before(series.next());
        let is_behind = |version: &&Version| version.series < series || least.is_some_and(|least| **version < least);
        if running.values().any(|version| is_behind(&version)) {
            stages.push(Stage { series, least: least.unwrap_or(Version { series, patch: 0 }) });
        }
        series = series.next();
    }
    stages
}

/// Returns why members must not change to these versions, given those that all members run.
#[must_use]
pub fn objections(running: &BTreeMap<NodeName, Version>, after: &BTreeMap<NodeName, Version>) -> Vec<Objection> {
    let changing = after.iter().filter(|(node, version)| running.get(*node) != Some(*version));
    changing.filter_map(|(node, version)| objection(node, *version, running)).collect()
}

fn objection(node: &NodeName, after: Version, running: &BTreeMap<NodeName, Version>) -> Option<Objection> {
    let oldest = oldest(running)?;
    let say = |text: String, hint: String| Some(Objection { node: node.clone(), text, hint });
    if after.series < oldest {
        let text = format!("its etcd would go back to {after}, and the cluster's data has the format of {oldest}");
        return say(text, format!("{KEEP} pkgs.{};`", oldest.package()));
    }
    if after.series > oldest.next() || after.series.major != oldest.major {
        let text = format!("its etcd would be {after} beside members that run {oldest}: one minor version at a time");
        return say(text, step(oldest.next(), None));
    }
    let least = least_before(after.series).filter(|_| after.series > oldest)?;
    let (other, version) = running.iter().find(|(_, version)| **version < least)?;
    let text =
        format!("its etcd would be {after}, and {other} runs {version}: all members must run {least} or newer first");
    say(text, step(oldest, Some(least)))
}

/// Beginning of the remedy for an older etcd.
const KEEP: &str = "keep etcd's series in each member's nodes/NAME.nix: `services.etcd.package =";

fn step(series: Series, least: Option<Version>) -> String {
    let package = series.package();
    let which = least.map_or_else(|| series.to_string(), |least| format!("{least} or newer"));
    format!(
        "`machinist upgrade --to RELEASE` inserts this step: etcd {which} on all members first; by hand \
         `services.etcd.package = pkgs.{package};` in nodes/NAME.nix of each member, and a deploy"
    )
}

fn oldest(running: &BTreeMap<NodeName, Version>) -> Option<Series> {
    running.values().map(|version| version.series).min()
}

fn least_before(series: Series) -> Option<Version> {
    LEAST_BEFORE.iter().find(|(next, _)| *next == series).map(|(_, least)| *least)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};
    use machinist_model::NodeName;

    use super::{enters_series, forgets_promotions, objections, stages, takes_members_from_its_data};
    use crate::version::Version;

    /// Parses `a 3.5.16 b 3.5.26`.
    fn versions(text: &str) -> BTreeMap<NodeName, Version> {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.chunks(2).map(|pair| (NodeName::parse(pair[0]).unwrap(), Version::parse(pair[1]).unwrap())).collect()
    }

    #[track_caller]
    fn check_stages(running: &str, to: &str, expect: &str) {
        let found = stages(&versions(running), Version::parse(to).unwrap());
        let found: Vec<String> = found.iter().map(|stage| format!("{} from {}", stage.series, stage.least)).collect();
        assert_eq!(found.join(", "), expect, "{running} -> {to}");
    }

    #[track_caller]
    fn check(running: &str, after: &str, expect: &Expect) {
        let found = objections(&versions(running), &versions(after));
        let found: Vec<String> = found.iter().map(|found| format!("{}: {}", found.node, found.text)).collect();
        expect.assert_eq(&found.join("\n"));
    }

    #[test]
    fn three_five_is_corrected_before_three_six() {
        check_stages("a 3.5.16 b 3.5.16 c 3.5.16", "3.6.12", "3.5 from 3.5.26");
        check_stages("a 3.5.26 b 3.5.25 c 3.5.26", "3.6.12", "3.5 from 3.5.26");
        check_stages("a 3.5.26 b 3.5.31 c 3.5.26", "3.6.12", "");
        check_stages("a 3.5.16 b 3.5.16", "3.5.31", "");
    }

    #[test]
    fn an_upgrade_that_was_cut_off_between_members_has_the_stages_that_are_left() {
        check_stages("a 3.6.12 b 3.5.31 c 3.5.31", "3.6.12", "");
        check_stages("a 3.5.31 b 3.5.16 c 3.5.16", "3.6.12", "3.5 from 3.5.26");
    }

    #[test]
    fn each_minor_version_between_is_a_stage() {
        check_stages("a 3.4.30", "3.6.12", "3.5 from 3.5.26");
        check_stages("a 3.5.16", "3.7.1", "3.5 from 3.5.26, 3.6 from 3.6.0");
        check_stages("a 3.5.31", "3.7.1", "3.6 from 3.6.0");
        check_stages("a 3.6.12", "3.5.31", "");
        check_stages("", "3.6.12", "");
    }

    #[test]
    fn the_dead_end_of_promoted_learners_is_refused() {
        check(
            "a 3.5.16 b 3.5.16 c 3.5.16",
            "a 3.6.4",
            &expect!["a: its etcd would be 3.6.4, and a runs 3.5.16: all members must run 3.5.26 or newer first"],
        );
        check(
            "a 3.5.26 b 3.5.16 c 3.5.26",
            "a 3.6.4 c 3.6.4",
            &expect![[r#"
                a: its etcd would be 3.6.4, and b runs 3.5.16: all members must run 3.5.26 or newer first
                c: its etcd would be 3.6.4, and b runs 3.5.16: all members must run 3.5.26 or newer first"#]],
        );
        check("a 3.5.26 b 3.5.26 c 3.5.26", "a 3.6.4 b 3.6.4 c 3.6.4", &expect![""]);
        check("a 3.6.4 b 3.5.26 c 3.5.26", "b 3.6.4 c 3.6.4", &expect![""]);
    }

    #[test]
    fn a_skipped_minor_version_is_refused() {
        check(
            "a 3.4.30 b 3.4.30",
            "a 3.6.4",
            &expect!["a: its etcd would be 3.6.4 beside members that run 3.4: one minor version at a time"],
        );
    }

    #[test]
    fn going_back_is_refused_once_all_members_have_the_series() {
        check(
            "a 3.6.4 b 3.6.4",
            "a 3.5.31",
            &expect!["a: its etcd would go back to 3.5.31, and the cluster's data has the format of 3.6"],
        );
        check("a 3.6.4 b 3.5.31", "a 3.5.31", &expect![""]);
        check("a 3.5.31 b 3.5.31", "a 3.5.26", &expect![""]);
        check("a 3.5.16", "a 3.5.16", &expect![""]);
    }

    #[test]
    fn the_versions_with_the_fault_are_known() {
        let forgets = |text| forgets_promotions(Version::parse(text).unwrap());
        assert!(forgets("3.5.1") && forgets("3.5.19") && !forgets("3.5.0") && !forgets("3.5.20") && !forgets("3.6.0"));
        let from_data = |text| takes_members_from_its_data(Version::parse(text).unwrap());
        assert!(from_data("3.6.0") && !from_data("3.5.99"));
        assert!(enters_series(&versions("a 3.5.26 b 3.6.4"), &versions("a 3.6.4")));
        assert!(!enters_series(&versions("a 3.5.26"), &versions("a 3.5.31")));
    }
}
