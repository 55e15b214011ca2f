//! Garbage collection on machines, which keeps all systems that they may still need.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::Remote;
use machinist_rollout::{
    HostFacts,
    generations::{self, Generations},
    lock::{Electorate, Scope},
    step::{
        StepError,
        collect::{Collected, Collection, collect, collection},
    },
};
use serde::Serialize;

use crate::{
    connect,
    context::Context,
    failure::{self, Failure, Kind, OrFail as _},
    history,
    locks::{self, Locks, Open},
    query::{self, Asked},
    run_id::run_id,
};

pub use crate::size::size;

/// Time limit of the boot loader's installation.
const BOOT_LOADER: Duration = Duration::from_secs(300);

/// Request for a collection.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`.
    pub targets: Vec<String>,
    /// Number of newest generations to keep, at least 1; those in use are kept in addition.
    pub keep: usize,
    /// True to change nothing.
    pub plan: bool,
}

/// Report of all machines.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Machines by name.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// Report of one machine.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Node {
    /// `plan`: what a collection would delete.
    Planned {
        /// Its generations.
        #[serde(flatten)]
        generations: Box<Collection>,
    },
    /// It was collected.
    Collected {
        /// Its generations.
        #[serde(flatten)]
        generations: Box<Collection>,
        /// Deleted paths and bytes.
        #[serde(flatten)]
        collected: Collected,
    },
    /// Nothing may be deleted there now.
    Refused {
        /// Reason.
        why: String,
        /// Hint for a fix.
        hint: Option<String>,
    },
    /// It did not answer, or the collection failed.
    Failed {
        /// Reason, with its causes.
        why: String,
        /// Hint for a fix.
        hint: Option<String>,
    },
}

impl Report {
    /// Returns true if a machine failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, Node::Failed { .. }))
    }

    /// Returns true if a machine was refused.
    #[must_use]
    pub fn has_refused(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, Node::Refused { .. }))
    }

    /// Returns true if a plan has generations to delete.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let deletes = |node: &Node| matches!(node, Node::Planned { generations } if !generations.deleted.is_empty());
        self.nodes.values().any(deletes)
    }
}

/// A machine whose garbage may be collected.
struct Ready {
    remote: Arc<dyn Remote>,
    generations: Box<Collection>,
}

/// Deletes old generations of the machines and collects their garbage, on all at once, under their locks.
///
/// # Errors
/// The cluster's files are invalid, a run is unfinished, or a machine is locked: nothing was deleted then. A machine that
/// does not answer, or fails, is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let cluster = context.project.load()?.cluster;
    let nodes = connect::select(&cluster, Some(&request.targets))?;
    if !request.plan {
        refuse_unfinished(context)?;
    }
    let connector = connect::connector(context, &cluster, None)?;
    let keep = request.keep;
    let mut report = BTreeMap::new();
    let mut ready = BTreeMap::new();
    for (name, looked) in each(query::nodes(&nodes, &connector)?, move |_, asked| look(asked, keep))? {
        match looked {
            Ok(machine) => drop(ready.insert(name, machine)),
            Err(node) => drop(report.insert(name, node)),
        }
    }
    if request.plan {
        let planned = |(name, machine): (NodeName, Ready)| (name, Node::Planned { generations: machine.generations });
        report.extend(ready.into_iter().map(planned));
        return Ok(Report { nodes: report });
    }
    let locks = Arc::new(Locks::new(context, run_id(context), &connector));
    let open: Open = ready.iter().map(|(name, machine)| (name.clone(), Arc::clone(&machine.remote))).collect();
    // No voter becomes unavailable.
    let state = context.project.state()?;
    let nobody = Electorate { all: BTreeSet::new(), counted: BTreeSet::new() };
    let known = locks::known(&cluster, &state, false);
    locks.hold(&Scope { nodes: open.keys().cloned().collect(), voters: nobody, known }, &open)?;
    let held = Arc::clone(&locks);
    report.extend(each(ready, move |name, machine| collect_one(&held, name, &machine, keep))?);
    Ok(Report { nodes: report })
}

/// Refuses while the last run of this directory is unfinished: it may need a system that has no generation yet.
fn refuse_unfinished(context: &Context) -> Result<(), Failure> {
    let Some(last) = history::run(context)?.runs.pop().filter(|run| !run.ended) else { return Ok(()) };
    let why = format!("run {} of {} is unfinished: its systems may not have generations yet", last.run, last.who);
    Err(Failure::new(Kind::Refused, why).hint("`machinist deploy --resume` finishes it; a new deploy supersedes it"))
}

/// Does the work for all machines at once.
fn each<T: Send + 'static, R: Send + 'static>(
    machines: BTreeMap<NodeName, T>,
    work: impl Fn(&NodeName, T) -> R + Send + Sync + 'static,
) -> Result<BTreeMap<NodeName, R>, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().max_blocking_threads(machines.len().max(1)).build().failed()?;
    let work = Arc::new(work);
    Ok(runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (name, machine) in machines {
            let work = Arc::clone(&work);
            tasks.spawn_blocking(move || {
                let result = work(&name, machine);
                (name, result)
            });
        }
        tasks.join_all().await.into_iter().collect()
    }))
}

fn look(asked: Asked, keep: usize) -> Result<Ready, Node> {
    let failed = |error: &StepError| Node::Failed { why: error.to_string(), hint: error.hint() };
    let (remote, facts) = asked.map_err(|error| failed(&error))?;
    let found = generations::ask(&*remote).map_err(|error| failed(&error.into()))?;
    let generations = decide(&facts, &found, keep)?;
    Ok(Ready { remote: Arc::from(remote), generations })
}

fn decide(facts: &HostFacts, found: &Generations, keep: usize) -> Result<Box<Collection>, Node> {
    collection(facts, found, keep)
        .map(Box::new)
        .map_err(|(why, hint)| Node::Refused { why, hint: Some(hint.to_owned()) })
}

/// Collects one machine. Its state is read again: before the lock was held, a deploy may have changed it.
fn collect_one(locks: &Locks, name: &NodeName, machine: &Ready, keep: usize) -> Node {
    let failed = |error: &StepError| Node::Failed { why: failure::words(name, error), hint: error.hint() };
    let remote = &*machine.remote;
    let state = machinist_rollout::step::gather(remote)
        .and_then(|facts| Ok((facts, generations::ask(remote)?)))
        .and_then(|state| Ok((state, locks.token(name)?)));
    let ((facts, found), token) = match state {
        Ok(state) => state,
        Err(error) => return failed(&error),
    };
    let generations = match decide(&facts, &found, keep) {
        Ok(generations) => generations,
        Err(refused) => return refused,
    };
    match collect(remote, &token, &generations, BOOT_LOADER) {
        Ok(collected) => Node::Collected { generations, collected },
        Err(error) => failed(&error),
    }
}
