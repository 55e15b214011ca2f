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
    /// It returns after longer than a lock lasts without a renewal.
    OutlastsLock,
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
    /// The init interface of systems that differ from the others in it: only a boot brings them.
    pub interfaces: BTreeMap<StorePath, String>,
    /// The kernel parameters of systems that differ from the others in them.
    pub parameters: BTreeMap<StorePath, String>,
    /// The system that it has booted. Another one may run.
    pub booted: Option<StorePath>,
    /// The answer about the boot loader, which can boot a system once by default.
    pub loader: Option<String>,
    /// The system that the next boot, and only that one, boots.
    pub once: Option<StorePath>,
    /// Programs of etcd that systems start; one of 3.6.0 for all others.
    pub etcd: BTreeMap<StorePath, String>,
    /// Behaviours of systems when activated here; [`Behaviour::Works`] for all others.
    pub behaviours: BTreeMap<StorePath, Behaviour>,
}

impl FakeHost {
    /// Returns a machine that runs and boots a confirmed system.
    pub fn on(system: &StorePath) -> Self {
        let system = Some(system.clone());
        let [running, profile, confirmed, booted] = [system.clone(), system.clone(), system.clone(), system];
        Self { running, profile, confirmed, booted, is_up: true, ..Self::default() }
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

    /// Returns the lines of the files that decide whether it can be switched from or to a system.
    pub(super) fn switch_files(&self, system: Option<&StorePath>) -> String {
        let interface = system.and_then(|system| self.interfaces.get(system)).map_or("systemd 2", String::as_str);
        format!("interface={interface}")
    }

    /// Returns etcd's unit in a system that a script reads; that of the running one if it names none.
    pub(super) fn etcd_unit(&self, script: &str) -> String {
        let is_named = |(system, _): &(&StorePath, &String)| script.contains(system.as_str());
        let named = self.etcd.iter().find(is_named).map(|(_, program)| program);
        let running = || self.etcd.get(self.running.as_ref()?).filter(|_| script.contains("/run/current-system/etc"));
        let usual = format!("/nix/store/{}-etcd-3.6.0/bin/etcd", "0".repeat(32));
        format!("[Service]\nExecStart={}\n", named.or_else(running).unwrap_or(&usual))
    }

    /// Returns the line of a system's kernel parameters, which only a boot puts into effect.
    pub(super) fn boot_files(&self, system: Option<&StorePath>) -> String {
        let parameters = system.and_then(|system| self.parameters.get(system)).map_or("quiet", String::as_str);
        format!("kernel-params={parameters}")
    }

    /// Installs a system for the next boot only.
    pub(super) fn boot_once(&mut self, run: &str, new: &StorePath) {
        self.once = Some(new.clone());
        self.last = self.record(run, new, self.running.as_ref(), "booting");
    }

    /// Ends the trial of a system.
    pub(super) fn give_up(&mut self, words: &str) {
        self.once = None;
        for line in self.last.iter_mut().filter(|line| *line == "state=booting") {
            *line = format!("state=reverted {words}");
        }
    }

    /// Activates a system, up to the state `waiting`.
    pub(super) fn activate(&mut self, mut activation: Activation) {
        if !self.lock.holds(&activation.token) {
            activation.state = format!("refused {}", self.lock.gone());
        } else if activation.trial {
            activation.state = "waiting".to_owned();
            if let Behaviour::FailsUnit(unit) = self.behaviour(Some(&activation.new))
                && !activation.unwell.lines().any(|known| *known == unit)
            {
                self.activation = Some(activation);
                return self.revert(&format!("units failed: {unit}"));
            }
        } else if self.switch_files(Some(&activation.new)) != self.switch_files(self.running.as_ref()) {
            let why = "nothing was changed: its init interface differs, so that only a boot can bring it";
            activation.state = format!("reverted {why}");
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

    /// Reverts to the previous system, as it does by itself without a confirmation.
    pub fn revert(&mut self, why: &str) {
        let Some(mut activation) = self.activation.take() else { return };
        if activation.is_running() && !activation.trial {
            self.run(activation.old.clone());
        }
        let reboots = activation.is_running() && activation.trial;
        if activation.is_running() {
            activation.state = format!("reverted {why}");
        }
        self.remember(activation);
        if reboots {
            self.restart();
        }
    }

    fn record(&self, run: &str, new: &StorePath, old: Option<&StorePath>, state: &str) -> Vec<String> {
        vec![
            format!("run={run}"),
            format!("boot={}", self.boot()),
            format!("new={new}"),
            format!("old={}", old.map(ToString::to_string).unwrap_or_default()),
            format!("state={state}"),
        ]
    }

    fn remember(&mut self, activation: Activation) {
        let run = activation.unit.trim_start_matches("machinist-activate-");
        let begun = if activation.trial { "booting" } else { "activating" };
        let state = if activation.is_running() { begun } else { &activation.state };
        self.last = self.record(run, &activation.new, activation.old.as_ref(), state);
        self.activation = Some(activation);
    }

    /// Returns the record's state if it is of this run and system, as it survives a reset.
    pub(super) fn recorded(&self, run: &str, new: &str) -> Option<&str> {
        let has = |line: String| self.last.contains(&line);
        let state = self.last.iter().find_map(|line| line.strip_prefix("state="))?;
        (has(format!("run={run}")) && has(format!("new={new}"))).then_some(state)
    }

    /// Ends this boot and runs the system that was installed for this boot only, or else the one of the profile. An
    /// unconfirmed activation is lost.
    pub(super) fn restart(&mut self) {
        self.reboots += 1;
        self.activation = None;
        let once = self.once.take();
        match self.behaviour(once.as_ref()) {
            Behaviour::PanicsAtBoot => {
                self.reboots += 1;
                self.run(self.profile.clone());
            }
            Behaviour::HangsAtBoot => {
                self.run(once);
                self.is_up = false;
            }
            _ => self.run(once.or_else(|| self.profile.clone())),
        }
        self.booted = self.running.clone();
        match self.reboot {
            Reboot::ComesBack => {}
            Reboot::StaysAway => self.is_up = false,
            Reboot::OutlastsLock => self.lock.expired = true,
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
            format!("switch={}", self.switch_files(self.running.as_ref())),
            format!("booted={}", self.boot_files(self.booted.as_ref())),
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
        if let Behaviour::FailsUnit(unit) = self.behaviour(self.running.as_ref()) {
            lines.push(format!("failed={unit}"));
        }
        lines.extend(self.keys.iter().map(|key| format!("key={key}")));
        lines.extend(self.last.iter().map(|line| format!("last={line}")));
        lines.extend(self.lock.text.lines().map(|line| format!("lock={line}")));
        lines.join("\n") + "\n"
    }
}
