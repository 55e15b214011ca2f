//! `machinist rollback`: a system that the hosts still have, in the waves and through the gates of any deploy.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use clap::Args;
use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError};
use machinist_rollout::{
    deploy::Target,
    generations,
    step::{Connect, Connector},
};

use crate::{
    args::{Global, Targets},
    connect,
    failure::{Failure, Kind, Outcome},
    locks::Locks,
    project::Project,
    query,
    rollout::{
        args::RolloutArgs,
        report::exit_code,
        run::{Job, Run},
        runs,
        target::voters,
    },
    run_id::run_id,
    systems::{BuildArgs, BuildOn},
    ui::Ui,
};

/// Brings machines back to a system that they still have.
///
/// Without `--to` that is the newest generation from before the one that boots which is another system.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which nodes
    #[command(flatten)]
    targets: Targets,

    /// A generation's number on the nodes, or a run of `machinist history`: what it was to bring
    #[arg(long, value_name = "GENERATION|RUN")]
    to: Option<String>,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Gives out each connection that is open already once, as the first: two for a host are enough. The one that
/// confirms is a later one, and fresh.
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

/// Runs the command.
pub fn run(args: &RollbackArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let patterns = (!args.targets.all).then_some(args.targets.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let connector = connect::connector(&project, &cluster, global, args.rollout.accept_host_key)?;
    let wanted = match args.to.as_deref() {
        None => Wanted::Before,
        Some(to) => match to.parse() {
            Ok(generation) => Wanted::Generation(generation),
            Err(_) => Wanted::Systems(runs::find(runs::read(&project, ui)?, to)?.systems),
        },
    };
    let (mut targets, mut open) = (Vec::new(), BTreeMap::new());
    for (node, asked) in query::nodes(&nodes, &connector)? {
        let (remote, _) = asked.map_err(|error| Failure::on(&node, Kind::Failed, &error).maybe_hint(error.hint()))?;
        let system = choose(&wanted, &node, &*remote)?;
        // Its keys are named by their public keys, so those that it needs are there since it first ran.
        targets.push(Target { node: node.clone(), system, keys: Vec::new(), installs_itself: false });
        open.insert(node, remote);
    }
    let connector: Connector = Arc::new(Opened { open: Mutex::new(open), connector });
    let locks = Locks::new(run_id(), &connector, ui);
    let run = Run {
        verb: "rollback",
        build_on: &BuildOn::Local,
        building: &BuildArgs::default(),
        args: &args.rollout,
        project: &project,
        cluster: &cluster,
        nodes,
        voters: voters(&cluster),
        connector,
        locks: &locks,
        global,
        ui,
    };
    let report = run.roll_out(&project.state()?, Job::new(&project, &locks, targets, true)?)?;
    run.tell(&report, begun.elapsed());
    Ok(ExitCode::from(exit_code(&report)))
}

enum Wanted {
    Before,
    Generation(u64),
    Systems(BTreeMap<NodeName, String>),
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

/// A run from before the first quorum is no way back either.
fn refuse_founding(node: &NodeName, remote: &dyn Remote, system: &StorePath) -> Result<(), Failure> {
    let found = generations::ask(remote).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let number = found.systems.iter().find(|(_, path)| *path == system).map(|(number, _)| *number);
    match number.map(|number| found.choose(Some(number))) {
        Some(Err(error)) => Err(Failure::new(Kind::Refused, format!("{node}: {error}"))),
        // Without a generation of its own it is no root of the garbage collector; whether it is there is asked later.
        Some(Ok(_)) | None => Ok(()),
    }
}
