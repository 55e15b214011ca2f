//! One pass of a deploy with its journal: a new run, or a resumed one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    path::PathBuf,
};

use machinist_model::NodeName;
use machinist_rollout::{
    deploy::Target,
    journal::{Journal, Record},
    plan::PlanFile,
    waves::Reboots,
};

use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    locks::Locks,
    run_id::run_id,
};

/// One pass: the systems of its targets, and its journal.
pub struct Job {
    pub(super) run: String,
    pub(super) journal: Journal,
    pub(super) targets: Vec<Target>,
    pub(super) from_host: bool,
    pub(super) planned: Option<PlanFile>,
    pub(super) rebooted: BTreeSet<NodeName>,
    /// State of the run before its interruption; absent for a new run.
    pub(super) before: Option<Before>,
}

/// State of an interrupted run.
pub(super) struct Before {
    /// Nodes that it was to reboot.
    pub(super) reboots: Reboots,
    /// Nodes whose reboot had begun, with the ID of the boot to be ended.
    pub(super) rebooting: BTreeMap<NodeName, String>,
}

impl Job {
    /// Begins a run. With `from_host`, the hosts already have the systems.
    pub fn new(context: &Context, locks: &Locks, targets: Vec<Target>, from_host: bool) -> Result<Self, Failure> {
        // The first run of a command has the ID under which the nodes are locked.
        let first = locks.keeper.claimant().run.clone();
        let (run, journal) = match Journal::begin(&runs(context), &first) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let run = run_id(context);
                let journal = Journal::begin(&runs(context), &run);
                (run, journal)
            }
            journal => (first, journal),
        };
        let journal = journal.failed()?;
        Ok(Self { run, journal, targets, from_host, planned: None, rebooted: BTreeSet::new(), before: None })
    }

    /// Resumes an interrupted run.
    pub fn resume(context: &Context, targets: Vec<Target>, record: &Record) -> Result<Self, Failure> {
        let run = record.run.clone();
        let journal = Journal::resume(&runs(context), &run).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => still_exists(record),
            _ => Failure::from_error(Kind::Failed, &error),
        })?;
        Ok(Self {
            run,
            journal,
            targets,
            from_host: false,
            planned: None,
            rebooted: record.rebooted.clone(),
            before: Some(Before { reboots: record.reboots, rebooting: record.rebooting.clone() }),
        })
    }
}

/// Refuses to resume a run whose process still exists, running or suspended: two processes would act for one run.
fn still_exists(record: &Record) -> Failure {
    let process = record.process.map_or_else(|| "its process".to_owned(), |process| format!("its process {process}"));
    Failure::new(Kind::Refused, format!("run {} has not ended: {process} still exists", record.run))
        .hint("wait for it; one that is suspended goes on with SIGCONT or ends with SIGKILL, then this again")
}

fn runs(context: &Context) -> PathBuf {
    context.project.local().join("runs")
}
