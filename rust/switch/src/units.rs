//! Units that a switch stops, starts, restarts and reloads. Pure.
//!
//! The rules are those of nixpkgs' `switch-to-configuration-ng` (`collect_unit_changes`, `handle_modified_unit`) as of
//! release 26.05. [`consequences`](crate::consequences) adds systemd's own reactions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    unit_file::{Difference, UnitFile, compare},
    unit_tree::UnitTree,
};

/// A unit that systemd has loaded and that is not inactive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// `active`, `activating`, `deactivating`, `failed`, ...
    pub state: String,
    /// Path of its unit file.
    pub fragment: String,
}

/// The units of a host, before a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// All units that are not inactive, including failed ones, by name.
    pub active: BTreeMap<String, Active>,
    /// The unit files of the running system.
    pub tree: UnitTree,
    /// Unit files of the distribution's own packages, by unit name, if the system is installed on top of another
    /// distribution.
    pub machine: BTreeMap<String, String>,
    /// Remaining actions of an interrupted switch.
    pub interrupted: Switch,
}

/// Actions of a switch on units, in order of execution. A unit in both `stop` and `start` is stopped before the
/// activation and started after it; one in `restart` is restarted after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// Units that are stopped before the activation.
    pub stop: BTreeSet<String>,
    /// Units that differ, but are not touched.
    pub keep: BTreeSet<String>,
    /// Units that are reloaded.
    pub reload: BTreeSet<String>,
    /// Units that are restarted after the activation.
    pub restart: BTreeSet<String>,
    /// Units that are started after the activation.
    pub start: BTreeSet<String>,
    /// Active targets, which every switch starts again, so that their new dependencies start.
    pub targets: BTreeSet<String>,
    /// Reasons of single units: the keys that differ, or an explanation.
    pub why: BTreeMap<String, Vec<String>>,
}

/// Directories of the distribution's own unit files. NixOS has none there.
const MACHINE: [&str; 2] = ["/usr/lib/systemd/system/", "/lib/systemd/system/"];

/// Directory of the unit files that NixOS manages. Units of generators and of administrators are elsewhere.
const OURS: &str = "/etc/systemd/system";

/// Decides the action for each running unit.
#[must_use]
pub fn decide(units: &Units, new: &UnitTree) -> Switch {
    let mut decision = Decision { units, new, switch: units.interrupted.clone() };
    for (name, active) in &units.active {
        if matches!(active.state.as_str(), "active" | "activating") {
            decision.unit(name, active);
        }
    }
    decision.switch
}

struct Decision<'a> {
    units: &'a Units,
    new: &'a UnitTree,
    switch: Switch,
}

impl Decision<'_> {
    fn unit(&mut self, name: &str, active: &Active) {
        let (old, new) = (&self.units.tree, self.new);
        let of_machine = MACHINE.iter().any(|place| active.fragment.starts_with(place));
        if !of_machine && !active.fragment.starts_with(OURS) {
            return;
        }
        let base = old.base(name, new);
        let extends = |tree: &UnitTree| tree.speaks_of(&base) || (base != name && tree.speaks_of(name));
        let speaks = |tree: &UnitTree| if of_machine { extends(tree) } else { tree.has(&base) };
        let (was_ours, is_ours) = (speaks(old), speaks(new));
        let beneath = if of_machine { self.units.machine.get(&*base).map(String::as_str) } else { None };
        let is_here = is_ours || (of_machine && name.ends_with(".target") && new.has_links(name));
        if !was_ours && (!of_machine || !is_here) {
            return;
        }
        let new_file = new.unit(name, &base, beneath);
        let stays = is_here || (of_machine && !old.has(&base));
        if !stays || self.instance_is_gone(name, &base) {
            if old.unit(name, &base, None).flag("Unit", "X-StopOnRemoval", true) {
                self.switch.stop.insert(name.to_owned());
                self.because(name, vec!["the new system does not have it".to_owned()]);
            }
        } else if name.ends_with(".target") {
            self.target(name, &new_file);
        } else {
            match compare(&old.unit(name, &base, beneath), &new_file) {
                Difference::Restart(keys) => self.modified(name, &base, &new_file, keys),
                Difference::Reload(keys) if !self.switch.restart.contains(name) => {
                    self.switch.reload.insert(name.to_owned());
                    self.because(name, keys);
                }
                Difference::Reload(_) | Difference::None => {}
            }
        }
    }

    /// An instance that is defined by its drop-ins disappears with them. One that was started by hand stays.
    fn instance_is_gone(&self, name: &str, base: &str) -> bool {
        let has_drop_ins = |tree: &UnitTree| tree.drop_ins(name).next().is_some();
        base != name && has_drop_ins(&self.units.tree) && !has_drop_ins(self.new)
    }

    fn target(&mut self, name: &str, new: &UnitFile) {
        // The suspend target is sometimes still active after a resume, as nixpkgs notes.
        let asleep = matches!(name, "suspend.target" | "hibernate.target" | "hybrid-sleep.target");
        let by_hand = new.flag("Unit", "RefuseManualStart", false) || new.flag("Unit", "X-OnlyManualStart", false);
        if !asleep && !by_hand {
            self.switch.start.insert(name.to_owned());
            self.switch.targets.insert(name.to_owned());
        }
        if new.flag("Unit", "X-StopOnReconfiguration", false) {
            self.switch.stop.insert(name.to_owned());
        }
    }

    fn modified(&mut self, name: &str, base: &str, new: &UnitFile, keys: Vec<String>) {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let special = matches!(name, "sysinit.target" | "basic.target" | "multi-user.target" | "graphical.target");
        // Slices and paths get their new properties when systemd reloads. Sockets restart only with their service.
        if special || matches!(ending, "path" | "slice" | "socket") {
            return;
        }
        let owned = name.to_owned();
        if ending == "mount" {
            // These cannot be unmounted while the system runs.
            let in_use = matches!(name, "-.mount" | "nix.mount");
            if in_use {
                self.switch.reload.insert(owned)
            } else {
                self.switch.restart.insert(owned)
            };
            self.because(name, keys);
            return;
        }
        let busy = self.switch.restart.contains(name) || self.switch.stop.contains(name);
        if new.flag("Service", "X-ReloadIfChanged", false) && !busy {
            self.switch.reload.insert(owned);
            self.because(name, keys);
        } else if let Some(rule) = untouchable(new) {
            self.switch.keep.insert(owned);
            self.because(name, vec![format!("{rule}; differs in {}", keys.join(", "))]);
        } else {
            if ending != "service" || !new.flag("Service", "X-StopIfChanged", true) {
                self.switch.restart.insert(owned);
            } else {
                self.stop_and_start(name, base, new);
            }
            self.switch.reload.remove(name);
            self.because(name, keys);
        }
    }

    /// If sockets activate the service, they are stopped and started instead of it.
    fn stop_and_start(&mut self, name: &str, base: &str, new: &UnitFile) {
        let mut sockets: Vec<String> = new.words("Service", "Sockets").map(str::to_owned).collect();
        if sockets.is_empty() {
            let stem = base.strip_suffix(".service").unwrap_or(base);
            sockets.push(format!("{}.socket", stem.strip_suffix('@').unwrap_or(stem)));
        }
        let mut by_socket = false;
        for socket in sockets {
            let stays = self.new.has(&socket) || self.new.aliases.contains_key(&socket);
            by_socket |= stays;
            if self.units.active.contains_key(&socket) {
                self.because(&socket, vec![format!("{name} changes")]);
                if stays {
                    self.switch.start.insert(socket.clone());
                }
                self.switch.stop.insert(socket);
            }
        }
        if !by_socket || new.flag("Service", "X-NotSocketActivated", false) {
            self.switch.start.insert(name.to_owned());
        }
        self.switch.stop.insert(name.to_owned());
    }

    fn because(&mut self, name: &str, why: Vec<String>) {
        self.switch.why.entry(name.to_owned()).or_insert(why);
    }
}

/// Returns the reason why the unit must not be restarted, if there is one.
fn untouchable(new: &UnitFile) -> Option<&'static str> {
    if !new.flag("Service", "X-RestartIfChanged", true) {
        Some("restartIfChanged is off")
    } else if new.flag("Unit", "RefuseManualStop", false) {
        Some("it refuses to be stopped")
    } else if new.flag("Unit", "X-OnlyManualStart", false) {
        Some("only people start it")
    } else {
        None
    }
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
