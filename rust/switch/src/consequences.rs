//! What systemd makes of a switch: what the started targets pull in, and what goes down with what is stopped. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    unit_tree::UnitTree,
    units::{Switch, Units},
};

/// What becomes of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// The unit.
    pub unit: String,
    /// What is done.
    pub action: Action,
    /// Why: keys of the unit file that differ, such as `Service.ExecStart`, or words.
    pub why: Vec<String>,
}

/// What is done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It stops and stays away.
    Stop,
    /// It stops and starts again.
    Restart,
    /// It is told to read its configuration again.
    Reload,
    /// It starts.
    Start,
    /// It differs, and what runs goes on as it is until somebody restarts it.
    Keep,
    /// It is not running and any switch starts it again, whatever changes: a oneshot that has ended, or a unit whose
    /// condition may not hold.
    Again,
}

/// Returns what becomes of the units, sorted by action and name.
#[must_use]
pub fn consequences(switch: &Switch, units: &Units, new: &UnitTree) -> Vec<UnitChange> {
    let mut actions: BTreeMap<String, (Action, Vec<String>)> = BTreeMap::new();
    let why = |unit: &String| switch.why.get(unit).cloned().unwrap_or_default();
    for unit in &switch.stop {
        let starts = switch.start.contains(unit);
        actions.insert(unit.clone(), if starts { (Action::Restart, why(unit)) } else { (Action::Stop, why(unit)) });
    }
    let rest = [(&switch.restart, Action::Restart), (&switch.reload, Action::Reload), (&switch.start, Action::Start)];
    for (set, action) in rest.into_iter().chain([(&switch.keep, Action::Keep)]) {
        for unit in set {
            actions.entry(unit.clone()).or_insert_with(|| (action, why(unit)));
        }
    }
    let wanted = reach(switch.start.iter().chain(&switch.restart), new);
    for (unit, (action, why)) in &mut actions {
        if *action == Action::Stop && new.speaks_of(unit) {
            why.push("a socket starts it again when it is asked for".to_owned());
        }
    }
    dragged(&mut actions, units, new, &wanted);
    pulled(&mut actions, switch, units, new, &wanted);
    // Starting a target again is how a switch works, not something that happens to a machine.
    actions.retain(|unit, _| !switch.targets.contains(unit));
    let mut changes: Vec<UnitChange> =
        actions.into_iter().map(|(unit, (action, why))| UnitChange { unit, action, why }).collect();
    changes.sort_by_key(|change| change.action);
    changes
}

/// Adds the active units that go down because one that they are bound to does.
fn dragged(
    actions: &mut BTreeMap<String, (Action, Vec<String>)>,
    units: &Units,
    new: &UnitTree,
    wanted: &BTreeSet<String>,
) {
    let bonds: Vec<(&String, BTreeSet<String>)> = units
        .active
        .iter()
        .filter(|(_, active)| active.state == "active" || active.state == "activating")
        .map(|(unit, _)| (unit, units.tree.bound_to(unit)))
        .filter(|(_, bonds)| !bonds.is_empty())
        .collect();
    let goes_down = |actions: &BTreeMap<String, (Action, Vec<String>)>, unit: &String| {
        actions.get(unit).is_some_and(|(action, _)| matches!(action, Action::Stop | Action::Restart))
    };
    loop {
        let mut more = Vec::new();
        for (unit, bonds) in &bonds {
            if goes_down(actions, unit) {
                continue;
            }
            if let Some(cause) = bonds.iter().find(|bond| goes_down(actions, bond)) {
                more.push(((*unit).clone(), cause.clone()));
            }
        }
        if more.is_empty() {
            return;
        }
        for (unit, cause) in more {
            let restarts = actions.get(&cause).is_some_and(|(action, _)| *action == Action::Restart);
            let asked_for = wanted.contains(&unit) || (restarts && new.bound_to(&unit).contains(&cause));
            let comes_back = asked_for && can_start(&unit, &units.tree, new, &mut BTreeSet::new());
            let action = if comes_back { Action::Restart } else { Action::Stop };
            actions.insert(unit, (action, vec![format!("with {cause}")]));
        }
    }
}

/// Whether all that the unit cannot do without is still there: systemd refuses to start it otherwise. Only units that
/// the old system had are looked for; others are not the system's.
fn can_start(unit: &str, old: &UnitTree, new: &UnitTree, seen: &mut BTreeSet<String>) -> bool {
    let is_gone = |unit: &str| old.has(&old.base(unit, old)) && !new.has(&new.base(unit, new));
    new.requires(unit)
        .iter()
        .all(|need| !is_gone(need) && (!seen.insert(need.clone()) || can_start(need, old, new, seen)))
}

/// Adds the units that are not running and that the started targets pull in.
fn pulled(
    actions: &mut BTreeMap<String, (Action, Vec<String>)>,
    switch: &Switch,
    units: &Units,
    new: &UnitTree,
    wanted: &BTreeSet<String>,
) {
    let before = reach(switch.targets.iter(), &units.tree);
    for unit in wanted {
        let state = units.active.get(unit).map_or("inactive", |active| active.state.as_str());
        if !new.has(&new.base(unit, new)) || actions.contains_key(unit) || !matches!(state, "inactive" | "failed") {
            continue;
        }
        let file = new.unit(unit, &new.base(unit, new), None);
        let was_there = units.tree.has(&units.tree.base(unit, &units.tree));
        let ends = file.values("Service", "Type").last().is_some_and(|kind| kind == "oneshot")
            && !file.flag("Service", "RemainAfterExit", false);
        let (action, why) = if !was_there {
            (Action::Start, "it is new")
        } else if !before.contains(unit) {
            (Action::Start, "it is wanted now")
        } else if state == "failed" {
            (Action::Start, "it has failed and is tried again")
        } else if ends || file.is_conditional() || unit.ends_with(".target") || unit.ends_with(".mount") {
            (Action::Again, "it is not running now")
        } else {
            (Action::Start, "it is not running now")
        };
        actions.insert(unit.clone(), (action, vec![why.to_owned()]));
    }
}

/// Returns all that a start of the units pulls in, themselves included.
fn reach<'a>(units: impl Iterator<Item = &'a String>, tree: &UnitTree) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<String> = units.cloned().collect();
    while let Some(unit) = next.pop() {
        if !tree.masked.contains(&unit) && reached.insert(unit.clone()) {
            next.extend(tree.pulls(&unit));
        }
    }
    reached
}
