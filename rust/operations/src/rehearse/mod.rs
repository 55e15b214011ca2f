//! Rehearsal: a deploy on machines of this computer that boot the nodes' own systems, before a real machine changes.
//!
//! The machines start with the systems of a revision of the directory and form the cluster as a first deploy does. Then
//! the deploy operation itself brings the directory's present systems to them, wave by wave and with its gates, while a
//! load writes and reads; and the rollback operation takes them back.

mod directory;
mod figures;
mod http;
mod load;
mod machines;
mod place;
mod play;
mod report;
mod room;
mod store;
mod units;
mod watch;

use std::{path::PathBuf, time::Duration};

pub use self::{
    figures::{Answers, Etcd},
    report::{Act, Limits, Rehearsal},
    units::FailedUnit,
    watch::WaveTime,
};
use self::{place::Place, play::Play};
use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    rollout::options::Options,
    systems::Building,
};

/// Request for a rehearsal.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if `None`.
    pub targets: Option<Vec<String>>,
    /// Revision of the directory's repository that the machines start with.
    pub from: String,
    /// Snapshot of etcd that the machines start with: a file, encrypted or not.
    pub snapshot: Option<PathBuf>,
    /// URLs that are requested meanwhile, `http://HOST[:PORT][/PATH]`.
    pub urls: Vec<String>,
    /// Rollout options of the deploy.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
    /// Time for which units and load are watched after the deploy and after the rollback.
    pub watch: Duration,
    /// Limits above which a figure counts as a failure.
    pub limits: Limits,
    /// True if the machines are rolled back afterwards.
    pub rollback: bool,
    /// True if machines and directory stay.
    pub keep: bool,
    /// Trees beneath the machines' roots, topmost first; empty for systems that are complete in the store.
    pub beneath: Vec<PathBuf>,
}

/// Rehearses a deploy. No machine of the cluster is connected to, and no file of its directory changes.
///
/// # Errors
/// The rehearsal itself could not be made: nothing is known about the deploy. A deploy that fails in it is a result.
pub fn run(context: &Context, request: &Request) -> Result<Rehearsal, Failure> {
    let cluster = context.project.load()?.cluster;
    context.project.refuse_conflicts(&cluster, machinist_model::moving::Command::Rehearse)?;
    connect::select(&cluster, request.targets.as_deref())?;
    http::targets(&request.urls, &cluster)?;
    let commit = directory::commit(context, &request.from)?;
    let place = Place::lock(&cluster.name)?;
    if place.clear(context)? {
        context.events.detail("an earlier rehearsal is removed");
    }
    room::require(cluster.deployable().count())?;
    let opened = Play::open(context, request, commit, &place).map_err(|failure| not_made(failure, context));
    let played = opened.and_then(|play| play.perform());
    if request.keep && !context.interrupt.is_set() {
        return played.map(|rehearsal| Rehearsal { kept: place.operator_namespace(), ..rehearsal });
    }
    match place.clear(context) {
        Ok(_) => played,
        // What is left matters more than how it came to that.
        Err(failure) => Err(failure.hint("`machinist rehearse --remove` removes what is left")),
    }
}

/// A rehearsal that could not be made says nothing about the deploy, so it must not look like a bad one.
fn not_made(failure: Failure, context: &Context) -> Failure {
    match failure.kind {
        Kind::Failed if !context.interrupt.is_set() => Failure { kind: Kind::Refused, ..failure },
        _ => failure,
    }
}

/// Removes the machines that `keep` left. Returns false if there are none.
///
/// # Errors
/// A rehearsal runs, or a machine cannot be removed.
pub fn remove(context: &Context) -> Result<bool, Failure> {
    let cluster = context.project.load()?.cluster;
    Place::lock(&cluster.name)?.clear(context)
}
