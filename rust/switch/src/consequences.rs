//! Consequences of a switch in systemd: units that the started targets pull in, and units that stop with the ones they
//! are bound to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    unit_tree::UnitTree,
    units::{Switch, Units},
};

/// The effect of a switch on one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// The unit's name, such as `etcd.service`.
    pub unit: String,
    /// The effect, systemd's own reactions included.
    pub action: Action,
    /// The reasons: keys of the unit file that differ, such as `Service.ExecStart`, or an explanation.
    pub why: Vec<String>,
}

/// Effect of a switch on a unit, in the order in which a plan lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It stops and does not start again.
    Stop,
    /// It stops and starts again.
    Restart,
    /// It reloads its configuration.
    Reload,
    /// It was not running, and starts.
    Start,
    /// It differs, but keeps running unchanged until it is restarted by hand.
    Keep,
    /// It is not running, and every switch starts it again whether or not it changes: a oneshot that has finished, or a
    /// unit with a condition that may not hold.
    Again,
}

/// Returns the effects on all units, sorted by action and name.
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
    // Every switch starts its targets again; that is not a change of the machine.
    actions.retain(|unit, _| !switch.targets.contains(unit));
    let mut changes: Vec<UnitChange> =
        actions.into_iter().map(|(unit, (action, why))| UnitChange { unit, action, why }).collect();
    changes.sort_by_key(|change| change.action);
    changes
}

/// Adds the active units that stop because a unit they are bound to stops.
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

/// Returns true if everything that the unit requires still exists; systemd refuses to start it otherwise. Only units
/// that the old system had are checked; all others do not come from a system.
fn can_start(unit: &str, old: &UnitTree, new: &UnitTree, seen: &mut BTreeSet<String>) -> bool {
    let is_gone = |unit: &str| old.has(&old.base(unit, old)) && !new.has(&new.base(unit, new));
    new.requires(unit)
        .iter()
        .all(|need| !is_gone(need) && (!seen.insert(need.clone()) || can_start(need, old, new, seen)))
}

/// Adds the inactive units that the started targets pull in.
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

/// Returns all units that starting these pulls in, themselves included.
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
