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
    pub(super) resumes: bool,
    pub(super) from_host: bool,
    pub(super) planned: Option<PlanFile>,
    /// Reboots requested by the interrupted run.
    pub(super) reboots: Option<Reboots>,
    pub(super) rebooting: BTreeMap<NodeName, String>,
    pub(super) rebooted: BTreeSet<NodeName>,
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
        Ok(Self {
            run,
            journal,
            targets,
            resumes: false,
            from_host,
            planned: None,
            reboots: None,
            rebooting: BTreeMap::new(),
            rebooted: BTreeSet::new(),
        })
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
            resumes: true,
            from_host: false,
            planned: None,
            reboots: Some(record.reboots),
            rebooting: record.rebooting.clone(),
            rebooted: record.rebooted.clone(),
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
