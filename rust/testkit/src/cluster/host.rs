//! Fake host: the state of a machine, and its own part of each answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use machinist_nix::StorePath;

use super::{
    activation::{Activation, Behaviour},
    lock::{Lock, Token, UPTIME},
};

/// Behaviour of a host on a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reboot {
    /// It returns at once, with the system of its profile.
    #[default]
    ComesBack,
    /// It never responds again.
    StaysAway,
    /// It returns, but etcd does not start.
    LosesEtcd,
}

/// A member of etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its identifier in the cluster.
    pub id: u64,
    /// True if its data directory contains a member.
    pub has_data: bool,
    /// True if its process is running.
    pub runs: bool,
    /// True if its process is running but does not respond.
    pub hangs: bool,
}

impl Member {
    /// Returns true if it responds.
    #[must_use]
    pub const fn answers(&self) -> bool {
        self.runs && !self.hangs
    }
}

/// State of a machine.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    /// The running system.
    pub running: Option<StorePath>,
    /// The system for the next boot.
    pub profile: Option<StorePath>,
    /// The system that a deploy last confirmed.
    pub confirmed: Option<StorePath>,
    /// Number of reboots.
    pub reboots: usize,
    /// Its behaviour on the next reboot.
    pub reboot: Reboot,
    /// True if it is up.
    pub is_up: bool,
    /// Its lock.
    pub lock: Lock,
    /// Its last activation. A reboot clears it.
    pub activation: Option<Activation>,
    /// The record of its last activation, which survives a reboot: its run, boot, systems and state.
    pub last: Vec<String>,
    /// Its etcd member, if it has one.
    pub member: Option<Member>,
    /// Store paths that it is missing.
    pub missing: BTreeSet<String>,
    /// File names of its private keys.
    pub keys: BTreeSet<String>,
    /// Behaviours of systems when activated here; [`Behaviour::Works`] for all others.
    pub behaviours: BTreeMap<StorePath, Behaviour>,
}

impl FakeHost {
    /// Returns a machine that runs and boots a confirmed system.
    pub fn on(system: &StorePath) -> Self {
        let system = Some(system.clone());
        Self { running: system.clone(), profile: system.clone(), confirmed: system, is_up: true, ..Self::default() }
    }

    /// Returns the kernel's identifier of this boot.
    pub fn boot(&self) -> String {
        format!("boot{}", self.reboots)
    }

    /// Returns true if it accepts new connections.
    pub fn accepts_connections(&self) -> bool {
        self.is_up && self.behaviour(self.running.as_ref()) != Behaviour::RefusesConnections
    }

    pub(super) fn behaviour(&self, system: Option<&StorePath>) -> Behaviour {
        system.and_then(|system| self.behaviours.get(system)).cloned().unwrap_or_default()
    }

    /// Runs a system; etcd starts with it, depending on the behaviour.
    pub(super) fn run(&mut self, system: Option<StorePath>) {
        let behaviour = self.behaviour(system.as_ref());
        self.running = system;
        if let Some(member) = &mut self.member {
            member.runs = behaviour != Behaviour::WithoutEtcd;
            member.has_data |= member.runs;
        }
    }

    /// Activates a system, up to the state `waiting`.
    pub(super) fn activate(&mut self, mut activation: Activation) {
        if !self.lock.holds(&activation.token) {
            activation.state = format!("refused {}", self.lock.gone());
        } else if let Behaviour::FailsUnit(unit) = self.behaviour(Some(&activation.new)) {
            let end = if activation.old.is_some() { "reverted" } else { "failed" };
            activation.state = format!("{end} units failed: {unit}");
        } else {
            self.run(Some(activation.new.clone()));
            activation.state = "waiting".to_owned();
        }
        self.remember(activation);
    }

    /// Confirms the waiting activation, if the lock still belongs to this token.
    pub(super) fn confirm(&mut self, token: &Token) {
        let Some(mut activation) = self.activation.take() else { return };
        if activation.is_running() && self.lock.holds(token) && self.lock.belongs(&activation.token) {
            self.profile = Some(activation.new.clone());
            self.confirmed = Some(activation.new.clone());
            activation.state = "confirmed".to_owned();
        }
        self.remember(activation);
    }

    /// Reverts to the previous system.
    pub(super) fn revert(&mut self, why: &str) {
        let Some(mut activation) = self.activation.take() else { return };
        if activation.is_running() {
            self.run(activation.old.clone());
            activation.state = format!("reverted {why}");
        }
        self.remember(activation);
    }

    fn remember(&mut self, activation: Activation) {
        let path = |path: Option<&StorePath>| path.map(ToString::to_string).unwrap_or_default();
        let run = activation.unit.trim_start_matches("machinist-activate-");
        let state = if activation.is_running() { "activating" } else { &activation.state };
        self.last = vec![
            format!("run={run}"),
            format!("boot={}", self.boot()),
            format!("new={}", activation.new),
            format!("old={}", path(activation.old.as_ref())),
            format!("state={state}"),
        ];
        self.activation = Some(activation);
    }

    /// Ends this boot and runs the system of the profile. An unconfirmed activation is lost.
    pub(super) fn restart(&mut self) {
        self.reboots += 1;
        self.activation = None;
        self.run(self.profile.clone());
        match self.reboot {
            Reboot::ComesBack => {}
            Reboot::StaysAway => self.is_up = false,
            Reboot::LosesEtcd => {
                if let Some(member) = &mut self.member {
                    member.runs = false;
                }
            }
        }
    }

    /// Returns the output of `script/look.sh`.
    pub(super) fn look(&self, name: &str) -> String {
        let mut text = format!("boot={}\nuptime={UPTIME}\nmachine=id-of-{name}\nname={name}\n", self.boot());
        if self.activation.as_ref().is_some_and(Activation::is_running) {
            text.push_str("activating=yes\n");
        }
        self.lock.text.lines().for_each(|line| text.push_str(&format!("lock={line}\n")));
        text
    }

    /// Returns the output of `script/gather.sh`.
    pub(super) fn facts(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let path = |path: &Option<StorePath>| path.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut lines = vec![
            format!("time={now}"),
            format!("boot={}", self.boot()),
            format!("uptime={UPTIME}"),
            "arch=x86_64".to_owned(),
            "store_free=100000000000".to_owned(),
            format!("running={}", path(&self.running)),
            format!("profile={}", path(&self.profile)),
            format!("confirmed={}", path(&self.confirmed)),
        ];
        if self.member.as_ref().is_some_and(|member| member.has_data) {
            lines.push("etcd_data=yes".to_owned());
        }
        if self.member.as_ref().is_some_and(|member| member.runs) {
            lines.push("etcd_active=yes".to_owned());
        }
        if let Some(activation) = self.activation.as_ref().filter(|activation| activation.is_running()) {
            lines.push(format!("activation={}.service", activation.unit));
        }
        lines.extend(self.keys.iter().map(|key| format!("key={key}")));
        lines.extend(self.last.iter().map(|line| format!("last={line}")));
        lines.extend(self.lock.text.lines().map(|line| format!("lock={line}")));
        lines.join("\n") + "\n"
    }
}
