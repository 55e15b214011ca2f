//! Report of an upgrade before it begins: versions, stages, cautions, and what cannot be undone.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_rollout::{
    plan::Plan,
    software::{Component, Release, Software, of_system},
};
use serde::Serialize;

use super::{agreed::Agreed, pin::Pins, record::Record, route::Route, systems};

/// Components whose versions an operator agrees to: data and neighbours depend on them.
const AGREED: [Component; 3] = [Component::Nixos, Component::Etcd, Component::Kubernetes];

/// The changes of an upgrade.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the cluster.
    pub cluster: String,
    /// nixpkgs now: a short revision, path or URL.
    pub from: String,
    /// nixpkgs after the upgrade.
    pub to: String,
    /// Versions on each node: of its running system, then of each stage.
    pub nodes: BTreeMap<NodeName, Vec<Software>>,
    /// Stages, in order.
    pub stages: Vec<String>,
    /// Risks that do not stop the upgrade.
    pub cautions: Vec<String>,
    /// Changes that a rollback does not undo.
    pub permanent: Vec<String>,
    /// Reasons why the upgrade is refused.
    pub refusals: Vec<String>,
    /// Plan of the first stage.
    pub plan: Plan,
}

impl Report {
    pub(super) fn new(route: &Route, pins: &Pins, record: &Record, plan: Plan) -> Self {
        let nodes = versions(route);
        let mut report = Self {
            cluster: route.cluster.name.to_string(),
            from: pins.before.name(),
            to: pins.after.name(),
            stages: stages(route),
            cautions: Vec::new(),
            permanent: permanent(route),
            refusals: Vec::new(),
            nodes,
            plan,
        };
        report.judge(route, pins, record);
        report
    }

    /// Returns true if the upgrade would change something.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.from != self.to || self.plan.has_changes() || self.stages.len() > 1
    }

    /// Returns what an operator who accepts this report agrees to.
    pub(super) fn agreed(&self) -> Agreed {
        let stage = |index: usize| {
            // The versions that run come first.
            let of_stage = |all: &Vec<Software>| all.get(index + 1).map(words).unwrap_or_default();
            self.nodes.iter().map(|(node, all)| (node.to_string(), of_stage(all))).collect()
        };
        Agreed::new((0..self.stages.len()).map(stage).collect(), self.permanent.clone())
    }

    fn judge(&mut self, route: &Route, pins: &Pins, record: &Record) {
        self.judge_release(&route.cluster.release);
        let is_silent = |all: &Vec<Software>| all.first().is_none_or(Software::is_empty);
        let silent = self.nodes.iter().filter(|(_, all)| is_silent(all)).map(|(node, _)| node.as_str());
        let silent: Vec<&str> = silent.collect();
        if !silent.is_empty() {
            self.cautions.push(format!("unknown versions on {}", silent.join(", ")));
        }
        self.cautions.extend(in_flake_nix(pins, record));
        let refused = self.plan.skew.iter().filter(|problem| problem.refuses);
        self.refusals.extend(refused.map(|problem| format!("{}: {}", problem.node, problem.text)));
        self.refusals.extend(self.plan.refusal.clone());
    }

    /// Compares the oldest running release with the newest one of the new systems. `recorded` is that of machines.nix.
    fn judge_release(&mut self, recorded: &str) {
        let release = |software: Option<&Software>| Release::parse(software?.get(&Component::Nixos)?);
        let from = self.nodes.values().filter_map(|all| release(all.first())).min();
        let to = self.nodes.values().filter_map(|all| release(all.last())).max();
        let (Some(from), Some(to)) = (from, to) else { return };
        if to < from {
            self.refusals.push(format!(
                "NixOS would go back from {from} to {to}: services may have changed their data; `machinist rollback` returns to \
                 the systems before"
            ));
        } else if to > from.next() {
            self.cautions.push(format!(
                "this skips NixOS {}: read its release notes, too; one release at a time is what is tested",
                from.next()
            ));
        }
        if to != from && recorded != to.to_string() {
            self.cautions.push(format!(
                "cluster.release stays {recorded}: it is the default of system.stateVersion, which an upgrade does not change"
            ));
        }
    }
}

fn words(software: &Software) -> String {
    let of = |component: &Component| Some(format!("{component} {}", software.get(component)?));
    let words: Vec<String> = AGREED.iter().filter_map(of).collect();
    if words.is_empty() { "unknown versions".to_owned() } else { words.join(", ") }
}

/// Returns the reminder to write the new nixpkgs into flake.nix, from which the next update takes it.
fn in_flake_nix(pins: &Pins, record: &Record) -> Option<String> {
    let input = &pins.before.input;
    if input.contains('/') {
        return Some(format!(
            "{input} is pinned here against the pin of machinist: give flake.nix an input nixpkgs of this release, or `nix flake \
             update machinist` returns to that"
        ));
    }
    let branch = pins.before.branch().filter(|branch| !record.reference.ends_with(branch))?;
    Some(format!(
        "flake.nix names the branch {branch}: write the new one there after the upgrade, or the next `nix flake update` goes \
         back to it"
    ))
}

/// Returns the versions of the running system and of each stage.
fn versions(route: &Route) -> BTreeMap<NodeName, Vec<Software>> {
    let nodes = route.nodes();
    let mut running = systems::running(&route.connector, &nodes);
    let of_node = |node: NodeName| {
        let mut first = running.remove(&node).unwrap_or_default();
        // What runs, which is not always what the unit on the disk starts.
        if let Some(version) = route.running.get(&node) {
            first.insert(Component::Etcd, version.to_string());
        }
        let later = route.stages.iter().filter_map(|stage| stage.systems.get(&node)).map(of_system);
        let all = std::iter::once(first).chain(later).collect();
        (node, all)
    };
    nodes.into_iter().map(of_node).collect()
}

fn stages(route: &Route) -> Vec<String> {
    let describe = |stage: &super::route::Stage| match (&stage.package, stage.etcd.values().max()) {
        (Some(package), Some(version)) => format!(
            "the new nixpkgs with its {package}: all members run etcd {version}, then the data of each member is compared"
        ),
        (None, Some(version)) if route.stages.len() > 1 => format!("etcd {version}, one member after the other"),
        _ => "the new nixpkgs".to_owned(),
    };
    route.stages.iter().map(describe).collect()
}

fn permanent(route: &Route) -> Vec<String> {
    let last = route.stages.last().and_then(|stage| stage.etcd.values().max());
    let Some(to) = last.filter(|_| route.enters_series()) else { return Vec::new() };
    let from = route.running.values().min().map(|version| version.series.to_string()).unwrap_or_default();
    vec![format!(
        "etcd {0}: when the last member runs it, etcd {from} no longer starts on their data, and machinist deploys no older \
         one. The snapshot from before can be restored, to etcd {0}",
        to.series
    )]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use machinist_model::NodeName;
    use machinist_rollout::{plan::Plan, software::Component};

    use super::Report;

    #[track_caller]
    fn check(from: &str, to: &str, cautions: &[&str], refusals: &[&str]) {
        let software = |version: &str| BTreeMap::from([(Component::Nixos, version.to_owned())]);
        let mut report = Report {
            cluster: "c".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            nodes: [(NodeName::parse("n").unwrap(), vec![software(from), software(to)])].into(),
            stages: Vec::new(),
            cautions: Vec::new(),
            permanent: Vec::new(),
            refusals: Vec::new(),
            plan: Plan::default(),
        };
        report.judge_release("25.11");
        let begins = |found: &[String], expect: &[&str]| {
            found.len() == expect.len() && found.iter().zip(expect).all(|(text, begin)| text.starts_with(begin))
        };
        assert!(begins(&report.cautions, cautions), "{:?}", report.cautions);
        assert!(begins(&report.refusals, refusals), "{:?}", report.refusals);
    }

    #[test]
    fn a_skipped_release_is_a_caution_and_an_older_one_is_refused() {
        check("25.11.1.a", "25.11.2.b", &[], &[]);
        check("25.11.1.a", "26.05.2.b", &["cluster.release stays 25.11"], &[]);
        check("25.11.1.a", "26.11.2.b", &["this skips NixOS 26.05", "cluster.release stays"], &[]);
        check("26.05.1.a", "25.11.2.b", &[], &["NixOS would go back from 26.05 to 25.11"]);
        check("", "26.05", &[], &[]);
    }
}
