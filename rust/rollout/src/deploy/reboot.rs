//! Reboots of hosts: after a wave has changed and was confirmed, before the next one begins; and the changes that
//! require one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::Remote;
use machinist_switch::{BootFiles, SwitchFiles, boot, boot_only::boot_only};
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::{Deploy, DeployError},
};
use crate::{
    EventKind, HostFacts, Interrupt,
    boot_once::is_wanted_for_kernel,
    journal::Entry,
    local_system,
    lock::Keeper,
    outcome::{Outcome, Report, Verdict},
    step::{
        StepError, boot_once,
        gate::Demand,
        gather,
        reboot::{Reboot, files_on_host},
    },
    target::Target,
    waves::Reboots,
};

/// A host after its reboot, and the duration of the reboot.
pub(super) struct Back {
    pub host: Host,
    pub took: Duration,
}

impl Deploy {
    /// Returns the ID of the boot before the reboot, if the node's reboot had begun before the run was cut off.
    pub(super) fn rebooting(&self, node: &NodeName) -> Option<&String> {
        self.resume.as_ref()?.rebooting.get(node)
    }

    /// Connects to a node. A node whose reboot had begun before the run was cut off may still be rebooting.
    pub(super) fn reach(&self, node: &NodeName) -> Result<Box<dyn Remote>, StepError> {
        let connected = self.context.connector.connect(node);
        if connected.is_ok() || self.rebooting(node).is_none() {
            return connected.map_err(StepError::from);
        }
        self.context.events.step(node, "waiting for it to be back from the reboot that was begun");
        let deadline = Instant::now() + self.policy.bounds.reboot;
        loop {
            if self.interrupt().is_set() {
                return Err(StepError::Interrupted);
            }
            std::thread::sleep(Duration::from_secs(1));
            match self.context.connector.connect(node) {
                Err(error) if Instant::now() >= deadline => {
                    let why = format!("it was rebooted before the run was cut off: {error}");
                    return Err(StepError::NotBack { why });
                }
                Err(_) => {}
                Ok(remote) => return Ok(remote),
            }
        }
    }

    /// Returns the changes that take effect only after a reboot of the host, in words.
    pub(super) fn due(&self, remote: &dyn Remote, facts: &HostFacts, target: &Target) -> Vec<String> {
        due(facts, &files(remote, target).0)
    }

    /// Returns a host that responds, and compares the system that it runs with its target.
    pub(super) fn compared(
        &self,
        remote: Arc<dyn Remote>,
        facts: HostFacts,
        target: Target,
    ) -> Result<Host, StepError> {
        let (boots, switches) = files(&*remote, &target);
        let due = due(&facts, &boots);
        // A host that never ran a system of ours has nothing to switch from.
        let boot_only = facts.running.as_ref().map_or_else(Vec::new, |_| boot_only(&facts.switch, &switches));
        let reboots = self.policy.spread.reboots;
        let is_default = facts.profile.as_ref() == Some(&target.system);
        let for_kernel = facts.running.is_some() && is_wanted_for_kernel(!due.is_empty(), reboots, is_default);
        let is_asked = for_kernel || (!boot_only.is_empty() && reboots != Reboots::Never);
        let loader = if is_asked { Some(boot_once::loader(&*remote)?) } else { None };
        let can = loader.as_ref().is_some_and(|loader| loader.cannot.is_none());
        let boots_for = if boot_only.is_empty() && for_kernel && can { due.clone() } else { boot_only };
        Ok(Host { target, remote, facts, due, boots_for, loader })
    }

    /// Returns true if the run reboots the host, or waits for the end of a reboot that it has begun.
    pub(super) fn reboots(&self, host: &Host) -> bool {
        let node = &host.target.node;
        let is_due = !host.due.is_empty() || !host.boots_for.is_empty();
        let wanted = self.rebooting(node).is_some() || self.policy.spread.reboots.wants(is_due);
        wanted && !self.request.rebooted.contains(node)
    }

    /// Returns the hosts of the run that need a reboot which the run did not perform, with the reasons.
    pub(super) fn still_due(&self, hosts: &Hosts, report: &Report) -> BTreeMap<NodeName, Vec<String>> {
        let stands = |node: &NodeName| matches!(report.nodes.get(node), Some(Outcome::Changed | Outcome::Unchanged));
        let due = hosts.iter().filter(|(node, host)| !host.due.is_empty() && stands(node));
        due.map(|(node, host)| (node.clone(), host.due.clone())).collect()
    }

    /// Reboots the nodes of a wave, all at once: a wave never exceeds the number of nodes that may be down. Returns
    /// false if one is unhealthy.
    pub(super) async fn reboot(
        self: &Arc<Self>,
        nodes: &[NodeName],
        hosts: &mut Hosts,
        keeper: &Arc<Keeper>,
        report: &mut Report,
    ) -> Result<bool, DeployError> {
        let mut tasks = JoinSet::new();
        for host in nodes.iter().filter_map(|node| hosts.get(node)) {
            let (this, host, hosts, keeper) = (Arc::clone(self), Arc::clone(host), hosts.clone(), Arc::clone(keeper));
            tasks.spawn_blocking(move || {
                let back = this.reboot_one(&host, &hosts, &keeper);
                (host.target.node.clone(), back)
            });
        }
        let mut all_well = true;
        for (node, back) in tasks.join_all().await {
            match back {
                Ok(Back { host, took }) => {
                    let text = format!("is back from its reboot ({:.1} s)", took.as_secs_f64());
                    self.context.events.node(&node, EventKind::Done { text });
                    report.nodes.insert(node.clone(), Outcome::Changed);
                    hosts.insert(node.clone(), Arc::new(host));
                    report.rebooted.insert(node.clone());
                }
                Err(error) => {
                    all_well = false;
                    self.fail(report, &node, &error);
                    if matches!(error, StepError::NotBack { .. }) {
                        // The host can no longer be queried.
                        hosts.remove(&node);
                    }
                }
            }
            self.record(&Entry::node(&node, report.nodes.get(&node)))?;
        }
        Ok(all_well)
    }

    fn reboot_one(&self, host: &Host, hosts: &Hosts, keeper: &Keeper) -> Result<Back, StepError> {
        let (node, begun) = (&host.target.node, Instant::now());
        let changed = !host.facts.is_on(&host.target.system);
        // A node that has changed must not be reported as untouched.
        let not_begun = |error: StepError| match error {
            error @ StepError::NotRebooted { .. } => error,
            error if changed => StepError::NotRebooted { why: error.to_string() },
            error => error,
        };
        let before = self.ready_to_reboot(host, hosts).map_err(not_begun)?;
        let token = keeper.token(node).map_err(not_begun)?;
        // A reboot that had begun before the run was cut off came after the drain.
        if let Some(workload) = self.context.workload.as_ref().filter(|_| self.rebooting(node).is_none()) {
            self.context.events.step(node, "draining it");
            let left = workload.leave(node, &|text| self.context.events.step(node, text));
            left.map_err(|why| not_begun(StepError::NotRebooted { why: format!("not drained: {why}") }))?;
        }
        let entry = Entry::rebooting(node, &before.facts.boot);
        self.context.journal.append(&entry).map_err(StepError::Journal).map_err(not_begun)?;
        let why = if host.due.is_empty() { "it was asked for".to_owned() } else { host.due.join(", ") };
        self.context.events.step(node, format!("rebooting: {why}"));
        let (system, bound) = (host.target.system.clone(), self.policy.bounds.reboot);
        // All gates together may take as long as an activation, as before the confirmation.
        let gates = if self.policy.no_rollback { Duration::ZERO } else { self.policy.bounds.activation };
        let reboot = Reboot { node: node.clone(), system, token, before: before.facts, bound, gates };
        let (remote, facts) = reboot.run(&*before.remote, &self.context.connector, &self.context.events).map_err(
            |error| match error {
                StepError::Locked(_) => not_begun(error),
                StepError::NotBack { why } => StepError::NotBack { why: self.with_last_words(node, why) },
                error => error,
            },
        )?;
        let remote: Arc<dyn Remote> = Arc::from(remote);
        keeper.moved(node, &remote);
        if self.topology().members.contains_key(node) {
            self.context.events.step(node, "waiting for etcd to be healthy");
            // A user's interruption does not end this wait: the node's health must be known at the end of the run.
            self.etcd_gate(node, Demand::default(), &Interrupt::default())
                .wait(&*remote)
                .map_err(|error| StepError::NotWell { why: error.to_string(), verdict: Verdict::Confirmed })?;
        }
        if let Some(workload) = &self.context.workload {
            self.context.events.step(node, "waiting for it to take pods again");
            workload.come_back(node).map_err(|why| StepError::NotWell { why, verdict: Verdict::Confirmed })?;
        }
        let due = self.due(&*remote, &facts, &host.target);
        Ok(Back { host: Host::now(host.target.clone(), remote, facts, due), took: begun.elapsed() })
    }

    /// Adds what the console of a machine that does not come back says last.
    pub(super) fn with_last_words(&self, node: &NodeName, why: String) -> String {
        match self.context.console.as_ref().and_then(|console| console.last_words(node)) {
            Some(said) => {
                let lines: String = said.lines().map(|line| format!("\n  {line}")).collect();
                format!("{why}; its console says last:{lines}")
            }
            None => why,
        }
    }

    /// Checks right before the reboot that the host runs and boots its target system, and that the others have a quorum
    /// without it.
    fn ready_to_reboot(&self, host: &Host, hosts: &Hosts) -> Result<Host, StepError> {
        let target = host.target.clone();
        // The activation may have closed the first connection.
        let (remote, facts) = match gather(&*host.remote) {
            Ok(facts) => (Arc::clone(&host.remote), facts),
            Err(_) => {
                let fresh: Arc<dyn Remote> = Arc::from(self.context.connector.connect(&target.node)?);
                let facts = gather(&*fresh)?;
                (fresh, facts)
            }
        };
        if !facts.is_on(&target.system) {
            let shown = |path: &Option<StorePath>| path.as_ref().map_or("nothing", StorePath::as_str).to_owned();
            let (runs, boots) = (shown(&facts.running), shown(&facts.profile));
            return Err(StepError::NotRebooted {
                why: format!("somebody has changed it: it runs {runs} and boots {boots}"),
            });
        }
        let mut now = Host::now(target, remote, facts, host.due.clone());
        match self.rebooting(&now.target.node) {
            // It has already returned from the reboot that had begun before the run was cut off.
            Some(boot) if *boot != now.facts.boot => now.facts.boot.clone_from(boot),
            _ if self.topology().members.contains_key(&now.target.node) => {
                self.ask_for_quorum(&now, hosts)?;
            }
            _ => {}
        }
        Ok(now)
    }
}

/// Returns the files of the target system that matter for a boot and for a switch. It may be on the host only.
fn files(remote: &dyn Remote, target: &Target) -> (BootFiles, SwitchFiles) {
    let path = Path::new(target.system.as_str());
    if path.exists() {
        (local_system::boot_files(path), local_system::switch_files(path))
    } else {
        // If the system is missing on the host as well, a later step reports that.
        files_on_host(remote, &target.system).unwrap_or_default()
    }
}

fn due(facts: &HostFacts, new: &BootFiles) -> Vec<String> {
    // A container, or a host that did not boot a system of this deployer.
    if facts.booted == BootFiles::default() {
        return Vec::new();
    }
    boot::reboot(&facts.booted, &facts.booted, new).map_or_else(Vec::new, |reboot| reboot.why)
}
