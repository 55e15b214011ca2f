//! Locks of a run: all of them are taken before the first change, or none. The facts from before are then checked
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use machinist_model::NodeName;
use machinist_remote::Remote;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::Deploy,
};
use crate::{
    EventKind, HostFacts,
    lock::{Electorate, Refusals, Scope},
    outcome::{Outcome, Report},
    step::{StepError, gather},
};

impl Deploy {
    /// Takes the locks of the changing nodes and, if one of them votes, of all voters. Returns false if one is refused;
    /// then none was taken.
    pub(super) async fn lock(self: &Arc<Self>, hosts: &Hosts, nodes: &BTreeSet<NodeName>, report: &mut Report) -> bool {
        let scope = Scope {
            nodes: nodes.clone(),
            voters: self.voters_at_stake(hosts, nodes),
            known: self.topology().known.clone(),
        };
        let open: BTreeMap<NodeName, Arc<dyn Remote>> =
            hosts.iter().map(|(node, host)| (node.clone(), Arc::clone(&host.remote))).collect();
        let this = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || {
            let note =
                |node: &NodeName, text: &str| this.context.events.node(node, EventKind::Note { text: text.to_owned() });
            this.context.locks.acquire(&scope, &open, &note)
        });
        match taken.await {
            Ok(Ok(_)) => true,
            Ok(Err(refusals)) => {
                self.refuse(refusals, nodes, report);
                false
            }
            // The task does not panic.
            Err(_) => false,
        }
    }

    /// Returns the voters that are locked as a group, because the run may take one of them down. A member that is
    /// already down does not count toward the quorum: if only such members change, the other voters are locked if they
    /// respond, but a majority is not required.
    fn voters_at_stake(&self, hosts: &Hosts, nodes: &BTreeSet<NodeName>) -> Electorate {
        let mut changing = nodes.iter().filter(|node| self.topology().electorate.all.contains(*node)).peekable();
        if changing.peek().is_none() {
            return Electorate::default();
        }
        let runs = |node: &NodeName| hosts.get(node).is_none_or(|host| host.facts.etcd_active);
        let is_counted = !self.policy.unlocked_voters && changing.any(runs);
        let counted = if is_counted { self.topology().electorate.counted.clone() } else { BTreeSet::new() };
        Electorate { all: self.topology().electorate.all.clone(), counted }
    }

    fn refuse(&self, refusals: Refusals, nodes: &BTreeSet<NodeName>, report: &mut Report) {
        let mut others = Vec::new();
        for (node, error) in refusals {
            if nodes.contains(&node) {
                self.fail(report, &node, &error);
            } else {
                self.context.events.node(&node, EventKind::Failed { text: error.to_string(), hint: error.hint() });
                others.push(format!("{node}, which votes in etcd: {error}"));
            }
        }
        let outcome = if others.is_empty() {
            let why = "another node could not be locked, so nothing was changed".to_owned();
            Outcome::NotStarted { why }
        } else {
            Outcome::Refused { why: others.join("; ") }
        };
        for node in nodes {
            report.nodes.entry(node.clone()).or_insert_with(|| outcome.clone());
        }
    }

    /// Gathers the facts again that were gathered before the locks were taken: another run may have changed a host and
    /// ended since. Returns `None` if one has.
    pub(super) async fn found_again(
        self: &Arc<Self>,
        hosts: &Hosts,
        nodes: &BTreeSet<NodeName>,
        report: &mut Report,
    ) -> Option<Hosts> {
        let mut tasks = JoinSet::new();
        for host in hosts.values().cloned() {
            let this = Arc::clone(self);
            tasks.spawn_blocking(move || {
                let now = gather(&*host.remote).and_then(|facts| this.unchanged_since(&host, facts));
                (host.target.node.clone(), now)
            });
        }
        let mut fresh = Hosts::new();
        let mut moved = false;
        for (node, now) in tasks.join_all().await {
            match now {
                Ok(host) => drop(fresh.insert(node, Arc::new(host))),
                Err(error) => {
                    moved = true;
                    self.fail(report, &node, &error);
                }
            }
        }
        if !moved {
            return Some(fresh);
        }
        let why = "another node was changed meanwhile, so nothing was done".to_owned();
        for node in nodes {
            report.nodes.entry(node.clone()).or_insert_with(|| Outcome::NotStarted { why: why.clone() });
        }
        None
    }

    fn unchanged_since(&self, host: &Host, facts: HostFacts) -> Result<Host, StepError> {
        let essence = |facts: &HostFacts| {
            let HostFacts { boot, running, profile, etcd_data, etcd_active, .. } = facts;
            (boot.clone(), running.clone(), profile.clone(), *etcd_data, *etcd_active)
        };
        if essence(&host.facts) != essence(&facts) {
            let why = "another run has changed it since this one looked: run the same command again";
            return Err(StepError::Locked(why.to_owned()));
        }
        self.compared(Arc::clone(&host.remote), facts, host.target.clone())
    }
}
