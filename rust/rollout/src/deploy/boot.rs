//! Boot of systems that only a boot can bring: installed for one boot, gates, confirmation over a fresh connection, and
//! only then the default.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_nix::StorePath;
use machinist_remote::Remote;

use super::{
    host::{Host, Hosts},
    reboot::Back,
    run::Deploy,
};
use crate::{
    EventKind, HostFacts,
    journal::Entry,
    lock::{Keeper, Token},
    outcome::Verdict,
    step::{
        StepError,
        activate::{Activation, Kind},
        boot_once::{BootOnce, last_words, uncertain},
        gate::Demand,
        gather,
        reboot::Reboot,
    },
    target::Target,
    waves::WaveKind,
};

impl Deploy {
    /// Boots the new system of a host once, and confirms it, or leaves the host with the old one.
    pub(super) fn boot(
        &self,
        kind: WaveKind,
        host: &Host,
        hosts: &Hosts,
        keeper: &Keeper,
        whole: bool,
    ) -> Result<Back, StepError> {
        let begun = Instant::now();
        let node = &host.target.node;
        if self.interrupt().is_set() {
            return Err(StepError::Interrupted);
        }
        let token = keeper.token(node)?;
        let (remote, facts) = if host.is_on_trial() {
            self.context.events.step(node, "going on with the boot of the new system that was begun");
            (Arc::clone(&host.remote), host.facts.clone())
        } else if self.has_fallen_back(host) {
            let error = self.give_up(host, &*host.remote, &token);
            self.take_work_again(host);
            return Err(error);
        } else {
            self.reboot_once(kind, host, hosts, keeper, &token)?
        };
        let token = keeper.booted(node, &remote).map_err(unfinished)?;
        if facts.running.as_ref() != Some(&host.target.system) {
            let error = self.give_up(host, &*remote, &token);
            self.take_work_again(host);
            return Err(error);
        }
        let trial = Host::now(host.target.clone(), remote, facts, Vec::new());
        if let Err(error) = self.try_out(host, &trial, keeper, token.clone(), Demand { whole, writable: false }) {
            return Err(self.after_trial(host, &trial, &token, error));
        }
        let fresh: Arc<dyn Remote> = Arc::from(self.context.connector.connect(node).map_err(unwell)?);
        let facts = gather(&*fresh)
            .map_err(|error| StepError::NotWell { why: error.to_string(), verdict: Verdict::Confirmed })?;
        keeper.moved(node, &fresh);
        if let Some(workload) = &self.context.workload {
            self.context.events.step(node, "waiting for it to take its work again");
            workload.come_back(node).map_err(|why| StepError::NotWell { why, verdict: Verdict::Confirmed })?;
        }
        let due = self.due(&*fresh, &facts, &host.target);
        Ok(Back { host: Host::now(host.target.clone(), fresh, facts, due), took: begun.elapsed() })
    }

    /// Boots the old system of a host again, which had booted and confirmed the new one.
    pub(super) fn boot_back(&self, host: &Host, old: StorePath, keeper: &Keeper) -> Result<(), StepError> {
        let node = &host.target.node;
        let remote: Arc<dyn Remote> = Arc::from(self.context.connector.connect(node)?);
        let facts = gather(&*remote)?;
        let target = Target { system: old, keys: Vec::new(), ..host.target.clone() };
        let why = vec!["another node of its wave failed".to_owned()];
        let back = Host { boots_for: why, ..Host::now(target, remote, facts, Vec::new()) };
        match self.boot(WaveKind::Others, &back, &Hosts::new(), keeper, false) {
            Ok(_) => Ok(()),
            Err(StepError::Reverted { why, log }) => {
                let why = format!("it still runs the new system, because the one before did not come up: {why}");
                Err(StepError::Broken { why, log })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns true if the run that was cut off has booted the new system, and the host runs the old one again.
    fn has_fallen_back(&self, host: &Host) -> bool {
        let tried = |boot: &str| boot != host.facts.boot;
        self.rebooting(&host.target.node).is_some() && host.tried().is_some_and(|last| tried(&last.boot))
    }

    /// Drains the host, installs the system for the next boot, and reboots. Returns a connection to the next boot, and
    /// the facts of the host there.
    fn reboot_once(
        &self,
        kind: WaveKind,
        host: &Host,
        hosts: &Hosts,
        keeper: &Keeper,
        token: &Token,
    ) -> Result<(Arc<dyn Remote>, HostFacts), StepError> {
        let node = &host.target.node;
        let is_member = kind == WaveKind::Member;
        if is_member {
            self.ask_for_quorum(host, hosts)?;
        }
        if let Some(workload) = &self.context.workload {
            self.context.events.step(node, "draining it");
            let left = workload.leave(node, &|text| self.context.events.step(node, text));
            left.map_err(|why| StepError::NotInstalled { why: format!("not drained: {why}") })?;
        }
        let once = self.once(host, token);
        self.context.events.step(node, "installing the new system for the next boot only");
        self.context.journal.append(&Entry::started(node, host.facts.running.as_ref())).map_err(StepError::Journal)?;
        let loader = once.install(&*host.remote).map_err(uncertain).inspect_err(|_| self.take_work_again(host))?;
        // The drain may have taken minutes.
        let ready = || {
            if is_member {
                self.ask_for_quorum(host, hosts)?;
            }
            if self.interrupt().is_set() {
                return Err(StepError::Interrupted);
            }
            keeper.token(node)?;
            self.context.journal.append(&Entry::rebooting(node, &host.facts.boot)).map_err(StepError::Journal)
        };
        if let Err(error) = ready() {
            return Err(self.not_booted(host, &once, error));
        }
        self.context.events.step(node, format!("booting it once ({loader}): {}", host.boots_for.join(", ")));
        let reboot = self.reboot_of(host, &host.facts, token);
        match reboot.until_back(&*host.remote, &self.context.connector) {
            Ok(fresh) => {
                let facts = gather(&*fresh).map_err(|error| StepError::Unknown { why: error.to_string() })?;
                Ok((Arc::from(fresh), facts))
            }
            Err(StepError::NotBack { why }) => Err(self.lost(host, why)),
            Err(StepError::NotRebooted { why }) => {
                Err(self.not_booted(host, &once, StepError::NotInstalled { why: format!("not rebooted: {why}") }))
            }
            Err(error) => {
                let why = format!("{error}; the new system may be installed for the next boot");
                Err(StepError::Unknown { why })
            }
        }
    }

    const fn once<'a>(&self, host: &'a Host, token: &'a Token) -> BootOnce<'a> {
        BootOnce { system: &host.target.system, token, facts: &host.facts, bound: self.policy.bounds.activation }
    }

    /// Takes the system out of the next boot again, because the host was not rebooted.
    fn not_booted(&self, host: &Host, once: &BootOnce<'_>, error: StepError) -> StepError {
        self.take_work_again(host);
        match once.give_up(&*host.remote, &format!("nothing was booted: {error}")) {
            Ok(_) => error,
            Err(left) => StepError::Unknown {
                why: format!("{error}; the new system is still installed for the next boot: {left}"),
            },
        }
    }

    /// Starts the activation of the booted system, waits for the gates, and confirms it.
    fn try_out(
        &self,
        before: &Host,
        trial: &Host,
        keeper: &Keeper,
        token: Token,
        demand: Demand,
    ) -> Result<(), StepError> {
        let node = &trial.target.node;
        // A resumed run does not know the units of the boot before: all that have failed in this one count.
        let unwell: Vec<&str> = if before.is_on_trial() { Vec::new() } else { before.facts.unwell().collect() };
        let activation = Activation {
            node: node.clone(),
            system: trial.target.system.clone(),
            id: self.request.run.clone(),
            token,
            bounds: self.policy.bounds,
            gates: !self.policy.no_rollback,
            kind: Kind::Trial { unwell: unwell.join("\n") },
            interrupt: self.interrupt().clone(),
        };
        self.context.events.step(node, "is back with the new system; waiting for its units and gates");
        keeper.activating(&activation);
        if !activation.found(&trial.facts) {
            activation.start(&*trial.remote, &self.way_back(before, trial))?;
        }
        let state = self.wait_for_gates(&activation, trial)?;
        self.finish(&activation, trial, state, demand)
    }

    /// Facts for an activation on trial: the system that a failure leads back to is the default.
    fn way_back(&self, before: &Host, trial: &Host) -> HostFacts {
        let running = trial.facts.profile.clone().or_else(|| before.facts.running.clone());
        HostFacts { running, profile: trial.facts.profile.clone(), ..HostFacts::default() }
    }

    /// Waits for the old system after a failed trial, which the host has left by a reboot.
    fn after_trial(&self, host: &Host, trial: &Host, token: &Token, error: StepError) -> StepError {
        let StepError::Reverted { .. } = error else { return unfinished(error) };
        self.context.events.step(&host.target.node, "rebooting into the old system");
        match self.reboot_of(host, &trial.facts, token).until_back(&*trial.remote, &self.context.connector) {
            Ok(fresh) => match gather(&*fresh) {
                Ok(facts) if facts.running.as_ref() != Some(&host.target.system) => {
                    self.take_work_again(host);
                    error.with_log(last_words(&*fresh))
                }
                Ok(_) => StepError::Broken {
                    why: format!("{error}; it has booted the new system again"),
                    log: String::new(),
                },
                Err(unknown) => StepError::Unknown { why: format!("{error}; {unknown}") },
            },
            Err(StepError::NotBack { why }) => self.lost(host, format!("{error}; {why}")),
            Err(left) => StepError::Unknown { why: format!("{error}; {left}") },
        }
    }

    /// Ends the trial of a host that runs the old system again, and returns the error of that.
    fn give_up(&self, host: &Host, remote: &dyn Remote, token: &Token) -> StepError {
        let why =
            "the new system was booted once and did not come up, so the machine has booted the default".to_owned();
        match self.once(host, token).give_up(remote, &why) {
            Ok(log) => StepError::Reverted { why, log },
            Err(left) => StepError::Reverted { why: format!("{why} (not recorded there: {left})"), log: String::new() },
        }
    }

    fn reboot_of(&self, host: &Host, before: &HostFacts, token: &Token) -> Reboot {
        Reboot {
            node: host.target.node.clone(),
            system: host.target.system.clone(),
            token: token.clone(),
            before: before.clone(),
            bound: self.policy.bounds.reboot,
            gates: Duration::ZERO,
        }
    }

    fn lost(&self, host: &Host, why: String) -> StepError {
        StepError::LostOnTrial { why: self.with_last_words(&host.target.node, why) }
    }

    /// Gives a drained host its work again. A failure is only reported: the run ends anyway.
    fn take_work_again(&self, host: &Host) {
        let Some(workload) = &self.context.workload else { return };
        if let Err(why) = workload.come_back(&host.target.node) {
            let text = format!("careful: it does not take its work again: {why}");
            self.context.events.node(&host.target.node, EventKind::Note { text });
        }
    }
}

/// Converts the error of a host that has booted the new system: it is not refused, and nothing is untouched.
fn unfinished(error: StepError) -> StepError {
    match error {
        StepError::Locked(why) => {
            StepError::Unknown { why: format!("{why}; it runs the new system on trial, and a reboot leaves it") }
        }
        StepError::Remote(error) => StepError::Unknown { why: error.to_string() },
        error => error,
    }
}

fn unwell(error: impl std::error::Error) -> StepError {
    StepError::NotWell { why: error.to_string(), verdict: Verdict::Confirmed }
}
