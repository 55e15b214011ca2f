//! All nodes are looked at before the first is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use tokio::task::JoinSet;

use super::{Deploy, DeployError, Host, Hosts, Outcome, Report, locks};
use crate::{
    EventKind,
    preflight::{Candidate, Problem, judge},
    step::{
        StepError,
        copy::{self, Delta},
        substitute,
    },
};

/// What each host lacks.
pub(super) type Deltas = BTreeMap<NodeName, Arc<Delta>>;

impl Deploy {
    /// Asks all hosts at once what they lack, without changing anything.
    pub(super) async fn survey(
        self: &Arc<Self>,
        hosts: &Hosts,
        changing: &BTreeSet<NodeName>,
        report: &mut Report,
    ) -> Result<Deltas, DeployError> {
        let mut closures: BTreeMap<StorePath, Arc<Vec<StorePath>>> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for host in changing.iter().filter_map(|node| hosts.get(node)) {
            let system = &host.target.system;
            if !self.from_host && !closures.contains_key(system) {
                let closure = self.nix.closure(std::slice::from_ref(system))?;
                closures.insert(system.clone(), Arc::new(closure));
            }
            let (this, host) = (Arc::clone(self), Arc::clone(host));
            let closure = closures.get(system).map(Arc::clone).unwrap_or_default();
            tasks.spawn_blocking(move || {
                let delta = if this.from_host {
                    copy::require(&*host.remote, &host.target.system).map(|()| Delta::default())
                } else {
                    copy::delta(&this.nix, &*host.remote, &closure)
                };
                (host.target.node.clone(), delta)
            });
        }
        let mut deltas = Deltas::new();
        for (node, delta) in tasks.join_all().await {
            match delta {
                Ok(delta) => drop(deltas.insert(node, Arc::new(delta))),
                Err(error) => self.fail(report, &node, &error),
            }
        }
        Ok(deltas)
    }

    /// Tells all problems of all hosts. False if the run must not begin.
    pub(super) fn preflight(&self, hosts: &Hosts, deltas: &Deltas, report: &mut Report) -> bool {
        let known = deltas.iter().filter_map(|(node, delta)| Some((hosts.get(node)?, delta)));
        let problems: Vec<Problem> = known.flat_map(|(host, delta)| self.problems(host, delta)).collect();
        let mut refused: BTreeMap<NodeName, Vec<&str>> = BTreeMap::new();
        for Problem { node, refuses, text, hint, .. } in &problems {
            let kind = if *refuses {
                refused.entry(node.clone()).or_default().push(text);
                EventKind::Failed { text: text.clone(), hint: hint.clone() }
            } else {
                EventKind::Note { text: format!("careful: {text}") }
            };
            self.events.node(node, kind);
        }
        let may_begin = refused.is_empty();
        if !may_begin {
            let why = "another node is not ready, so nothing was changed".to_owned();
            let outcome = |node: &NodeName| match refused.get(node) {
                Some(texts) => Outcome::Refused { why: texts.join("; ") },
                None => Outcome::NotStarted { why: why.clone() },
            };
            report.nodes.extend(deltas.keys().map(|node| (node.clone(), outcome(node))));
        }
        report.preflight = problems;
        may_begin
    }

    fn problems(&self, host: &Host, delta: &Delta) -> Vec<Problem> {
        let node = &host.target.node;
        let candidate = Candidate {
            node,
            facts: &host.facts,
            platform: self.traits.get(node).map_or("", |traits| &traits.platform),
            system: &host.target.system,
            store_needed: if delta.paths.is_empty() { 0 } else { copy::room_for(delta) },
            boot_needed: boot_files(&host.target.system, delta),
            run: &self.run,
            moment: locks::moment(&host.facts, &host.facts.lock),
        };
        judge(&candidate, self.policy.accept_drift)
    }

    pub(super) fn deliver(&self, host: &Host, delta: &Delta) -> Result<(), StepError> {
        if self.interrupt.is_set() {
            return Err(StepError::Interrupted);
        }
        self.put_keys(host)?;
        let node = &host.target.node;
        let left = if self.policy.substitute { Some(self.substitute(host, delta)?) } else { None };
        let delta = left.as_ref().unwrap_or(delta);
        if !delta.paths.is_empty() {
            self.events.step(node, format!("copying {} paths", delta.paths.len()));
        }
        let (events, name, total) = (self.events.clone(), node.clone(), delta.bytes);
        let interrupt = self.interrupt.clone();
        let progress = move |bytes| {
            events.node(&name, EventKind::Copied { bytes, total });
            !interrupt.is_set()
        };
        copy::send(&self.nix, &*host.remote, delta, host.facts.store_free, progress)
    }
}

impl Deploy {
    /// Lets the host fetch, and returns what is left to send.
    fn substitute(&self, host: &Host, delta: &Delta) -> Result<Delta, StepError> {
        let node = &host.target.node;
        if delta.paths.is_empty() {
            return Ok(Delta::default());
        }
        self.events.step(node, format!("fetching {} paths from its own substituters", delta.paths.len()));
        let left = substitute::fetch(&self.nix, &*host.remote, delta)?;
        let fetched = delta.paths.len() - left.paths.len();
        self.events.node(node, EventKind::Note { text: format!("fetched {fetched} of {} paths", delta.paths.len()) });
        Ok(left)
    }
}

/// Returns the size of the kernel and initrd that the boot loader will copy, if the host lacks them.
fn boot_files(system: &StorePath, delta: &Delta) -> u64 {
    let size = |name: &str| {
        let file = Path::new(system.as_str()).join(name).canonicalize().ok()?;
        let new = delta.paths.iter().any(|path| file.starts_with(path.as_str()));
        new.then(|| file.metadata().map_or(0, |metadata| metadata.len()))
    };
    ["kernel", "initrd"].into_iter().filter_map(size).sum()
}
