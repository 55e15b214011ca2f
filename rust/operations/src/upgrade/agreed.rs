//! What an operator agreed to when an upgrade began, and whether what is left of it is still part of that. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The stages of an upgrade as its report showed them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agreed {
    /// Versions by node in each stage, in their order.
    stages: Vec<BTreeMap<String, String>>,
    /// Changes that a rollback does not undo.
    permanent: Vec<String>,
}

impl Agreed {
    pub(super) const fn new(stages: Vec<BTreeMap<String, String>>, permanent: Vec<String>) -> Self {
        Self { stages, permanent }
    }

    /// Returns how the stages that are left differ from the last ones that were agreed. Empty if they do not: earlier
    /// stages are done then.
    pub(super) fn changes(&self, left: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if left.stages.len() > self.stages.len() {
            changes.push(format!("stages left: {}, agreed: {}", left.stages.len(), self.stages.len()));
        }
        for (before, now) in self.stages.iter().rev().zip(left.stages.iter().rev()) {
            let of_node = |(node, now): (&String, &String)| match before.get(node) {
                Some(before) if before == now => None,
                Some(before) => Some(format!("{node}: {now} instead of {before}")),
                None => Some(format!("{node}: {now}, and it was not part of the upgrade")),
            };
            changes.extend(now.iter().filter_map(of_node));
        }
        let permanent = left.permanent.iter().filter(|text| !self.permanent.contains(text));
        changes.extend(permanent.map(|text| format!("this cannot be rolled back: {text}")));
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Agreed;

    /// Parses stages such as `a=3.5.31 b=3.5.31; a=3.6.12 b=3.6.12`.
    fn agreed(stages: &str, permanent: &[&str]) -> Agreed {
        let stage = |text: &str| {
            let pair = |pair: &str| pair.split_once('=').map(|(node, version)| (node.to_owned(), version.to_owned()));
            text.split_whitespace().filter_map(pair).collect()
        };
        let permanent = permanent.iter().map(|text| (*text).to_owned()).collect();
        Agreed { stages: stages.split(';').filter(|text| !text.trim().is_empty()).map(stage).collect(), permanent }
    }

    #[track_caller]
    fn check(left: &Agreed, expect: &[&str]) {
        let before = agreed("a=3.5.31 b=3.5.31; a=3.6.12 b=3.6.12", &["etcd 3.6"]);
        assert_eq!(before.changes(left), expect);
    }

    #[test]
    fn what_is_left_of_an_upgrade_was_agreed_to() {
        check(&agreed("a=3.5.31 b=3.5.31; a=3.6.12 b=3.6.12", &["etcd 3.6"]), &[]);
        check(&agreed("a=3.6.12 b=3.6.12", &["etcd 3.6"]), &[]);
        check(&agreed("a=3.6.12 b=3.6.12", &[]), &[]);
    }

    #[test]
    fn an_upgrade_whose_route_has_changed_was_not() {
        check(&agreed("a=3.6.12 b=3.6.16", &["etcd 3.6"]), &["b: 3.6.16 instead of 3.6.12"]);
        check(
            &agreed("a=3.4.9 b=3.4.9; a=3.5.31 b=3.5.31; a=3.6.12 b=3.6.12", &["etcd 3.6"]),
            &["stages left: 3, agreed: 2"],
        );
        check(
            &agreed("a=3.6.12 b=3.6.12 c=3.6.12", &["etcd 3.7"]),
            &["c: 3.6.12, and it was not part of the upgrade", "this cannot be rolled back: etcd 3.7"],
        );
        let unknown = Agreed::default().changes(&agreed("a=3.6.12", &[]));
        assert_eq!(unknown, ["stages left: 1, agreed: 0"], "a record of an earlier version agrees to nothing");
    }
}
