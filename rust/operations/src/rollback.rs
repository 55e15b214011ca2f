//! Rollback: a previous system that the hosts still have, in the waves and through the gates of any deploy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use machinist_model::{NodeName, moving::Command};
use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError};
use machinist_rollout::{
    deploy::{Report, Target},
    generations,
    step::{Connect, Connector},
};

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    history,
    locks::Locks,
    query,
    rollout::{job::Job, options::Options, run::Run, target::voters},
    run_id::run_id,
    systems::{BuildOn, Building},
};

/// Request to roll back.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if `None`.
    pub targets: Option<Vec<String>>,
    /// Number of a generation on the nodes, or ID of a run, for the systems that it deployed. By default the newest
    /// generation that precedes the booted one and is a different system.
    pub to: Option<String>,
    /// Rollout options.
    pub options: Options,
}

/// Connector that uses each open connection once, as a host's first, so that two per host suffice. The confirmation
/// uses a later and therefore fresh one.
struct Opened {
    open: Mutex<BTreeMap<NodeName, Box<dyn Remote>>>,
    connector: Connector,
}

impl Connect for Opened {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        open.map_or_else(|| self.connector.connect(node), Ok)
    }
}

/// Rolls machines back to a previous system.
///
/// # Errors
/// A machine does not answer, or has no such system; nothing was changed then. A node that failed is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let begun = Instant::now();
    let project = &context.project;
    let cluster = project.load()?.cluster;
    project.refuse_in_move(Command::Rollback)?;
    let nodes = connect::select(&cluster, request.targets.as_deref())?;
    let connector = connect::connector(context, &cluster, request.options.accept_host_key)?;
    let wanted = wanted(context, request.to.as_deref())?;
    let mut targets = Vec::new();
    let mut open = BTreeMap::new();
    for (node, asked) in query::nodes(&nodes, &connector)? {
        let (remote, _) = asked.map_err(|error| Failure::on(&node, Kind::Failed, &error).maybe_hint(error.hint()))?;
        let system = choose(&wanted, &node, &*remote)?;
        // Key files are named by their public keys, so the system's keys are on the node since its first activation.
        targets.push(Target { node: node.clone(), system, keys: Vec::new(), installs_itself: false });
        open.insert(node, remote);
    }
    let connector: Connector = Arc::new(Opened { open: Mutex::new(open), connector });
    let locks = Locks::new(context, run_id(context), &connector);
    let run = Run {
        context,
        build_on: &BuildOn::Local,
        building: &Building::default(),
        options: &request.options,
        cluster: &cluster,
        nodes,
        voters: voters(&cluster),
        connector,
        locks: &locks,
    };
    let report = run.roll_out(&project.state()?, Job::new(context, &locks, targets, true)?)?;
    run.report(&report, begun.elapsed());
    Ok(report)
}

enum Wanted {
    Before,
    Generation(u64),
    Systems(BTreeMap<NodeName, String>),
}

fn wanted(context: &Context, to: Option<&str>) -> Result<Wanted, Failure> {
    let Some(to) = to else { return Ok(Wanted::Before) };
    match to.parse() {
        Ok(generation) => Ok(Wanted::Generation(generation)),
        Err(_) => Ok(Wanted::Systems(history::find(history::run(context)?, to)?.systems)),
    }
}

fn choose(wanted: &Wanted, node: &NodeName, remote: &dyn Remote) -> Result<StorePath, Failure> {
    let number = match wanted {
        Wanted::Before => None,
        Wanted::Generation(number) => Some(*number),
        Wanted::Systems(systems) => {
            let system = systems.get(node).and_then(|system| StorePath::parse(system).ok());
            let missing = || Failure::new(Kind::Input, format!("that run was not for {node}"));
            let system = system.ok_or_else(missing)?;
            refuse_founding(node, remote, &system)?;
            return Ok(system);
        }
    };
    let found = generations::ask(remote).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let (_, system) = found.choose(number).map_err(|error| Failure::new(Kind::Refused, format!("{node}: {error}")))?;
    Ok(system.clone())
}

/// Refuses a run from before the first quorum too.
fn refuse_founding(node: &NodeName, remote: &dyn Remote, system: &StorePath) -> Result<(), Failure> {
    let found = generations::ask(remote).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let number = found.systems.iter().find(|(_, path)| *path == system).map(|(number, _)| *number);
    match number.map(|number| found.choose(Some(number))) {
        Some(Err(error)) => Err(Failure::new(Kind::Refused, format!("{node}: {error}"))),
        // A system without its own generation is not a garbage collector root; a later step checks that it still
        // exists.
        Some(Ok(_)) | None => Ok(()),
    }
}
