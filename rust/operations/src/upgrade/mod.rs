//! Upgrade: changes the pin of nixpkgs, and deploys the new systems in stages that etcd, Kubernetes and NixOS allow.
//!
//! The pin is changed in a copy until everything is built and checked. From then on a record of both lock files exists, so
//! that the same request continues an upgrade that was cut off: what is left is computed from what runs.

mod agreed;
mod pin;
mod record;
mod report;
mod route;
mod systems;

use machinist_etcd::upgrade::enters_series;
use machinist_rollout::deploy::Report as Rollout;

pub use self::report::Report;
use self::{record::Record, route::Route};
use crate::{
    consent::Question,
    context::Context,
    deploy::{self, Deployed},
    etcd::{snapshots, verify},
    failure::{Failure, Kind},
    plan,
    rollout::options::Options,
    run_id::run_id,
    systems::{BuildOn, Building},
};

/// Maximum number of stages of one upgrade.
const MOST_STAGES: usize = 8;

/// Request of an upgrade.
#[derive(Clone, Debug)]
pub struct Request {
    /// The new nixpkgs: a release, a revision, a path or a flake reference. None continues the upgrade that is under way.
    pub to: Option<String>,
    /// Rollout options, for each stage.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
}

/// Outcome of an upgrade.
#[derive(Clone, Debug)]
pub enum Upgraded {
    /// All nodes run the new systems.
    Done {
        /// The new nixpkgs.
        to: String,
        /// Report of the last stage.
        report: Box<Rollout>,
    },
    /// A stage failed: the same request continues once the cause is fixed.
    NotDone {
        /// Kind of the failure.
        kind: Kind,
        /// Report of that stage.
        report: Box<Rollout>,
    },
}

/// Returns the changes of an upgrade. Changes no host, and no file of the directory.
///
/// # Errors
/// The new nixpkgs cannot be pinned, a system cannot be built, or etcd does not answer or cannot change that way.
pub fn plan(context: &Context, request: &Request) -> Result<Report, Failure> {
    let record = under_way(context, request)?.map_or_else(|| propose(context, request), Ok)?;
    let route = Route::find(context, &request.building, &record)?;
    report(context, request, &record, &route)
}

/// Upgrades all nodes.
///
/// # Errors
/// The upgrade is refused before anything is changed, or it stopped: the same request continues.
pub fn run(context: &Context, request: &Request) -> Result<Upgraded, Failure> {
    let begun = under_way(context, request)?;
    let is_new = begun.is_none();
    let mut record = begun.map_or_else(|| propose(context, request), Ok)?;
    let mut route = Route::find(context, &request.building, &record)?;
    agree(context, request, &mut record, &route, is_new)?;
    pin::write(&context.project, &record.after)?;
    context.events.note_all(format!("flake.lock pins nixpkgs {}", pin::pins(&record)?.after.name()));
    for _ in 0..MOST_STAGES {
        let is_last = route.stages.len() == 1;
        let report = match stage(context, request, &mut record, &route)? {
            Deployed::Ended { report, objects_applied } => (report, objects_applied),
            Deployed::NothingToResume => break,
        };
        let deployed = Deployed::Ended { report: report.0.clone(), objects_applied: report.1 };
        if let Some(kind) = deployed.verdict() {
            return Ok(Upgraded::NotDone { kind, report: report.0 });
        }
        if is_last {
            if !route.running.is_empty() {
                verify::run(context, true)?.require()?;
            }
            Record::remove(&context.project)?;
            return Ok(Upgraded::Done { to: record.to, report: report.0 });
        }
        route = Route::find(context, &request.building, &record)?;
        agree(context, request, &mut record, &route, false)?;
    }
    Err(Failure::new(Kind::Failed, "the stages of the upgrade do not end: etcd still reports its old version")
        .hint("`machinist etcd status` shows the versions of its members; then `machinist upgrade` continues"))
}

/// Writes the lock file from before an upgrade that is under way. Returns what the upgrade was to.
///
/// # Errors
/// No upgrade is under way, or a member of etcd may run a version that cannot be undone.
pub fn abort(context: &Context) -> Result<String, Failure> {
    let project = &context.project;
    let Some(record) = Record::read(project)? else {
        return Err(Failure::new(Kind::Input, "no upgrade is under way"));
    };
    if record.enters_series {
        let failure =
            Failure::new(Kind::Refused, "members of etcd may run the new version, which cannot be undone from here");
        return Err(failure.hint("`machinist upgrade` continues it; `machinist etcd status` shows the versions"));
    }
    let mut state = project.state()?;
    if state.etcd.package.take().is_some() {
        project.record(&state)?;
    }
    pin::write(project, &record.before)?;
    Record::remove(project)?;
    Ok(record.to)
}

/// Returns the upgrade that is under way. Refuses another one beside it.
fn under_way(context: &Context, request: &Request) -> Result<Option<Record>, Failure> {
    let Some(record) = Record::read(&context.project)? else { return Ok(None) };
    if request.to.as_ref().is_some_and(|to| *to != record.to) {
        let failure = Failure::new(Kind::Refused, format!("an upgrade to {} is under way", record.to));
        return Err(failure.hint("`machinist upgrade` continues it, `machinist upgrade --abort` ends it"));
    }
    pin::refuse_foreign(&context.project, &record)?;
    Ok(Some(record))
}

fn propose(context: &Context, request: &Request) -> Result<Record, Failure> {
    let Some(to) = &request.to else {
        let failure = Failure::new(Kind::Input, "no upgrade is under way");
        return Err(failure.hint("`machinist upgrade --to RELEASE` begins one"));
    };
    pin::propose(context, to)
}

fn report(context: &Context, request: &Request, record: &Record, route: &Route) -> Result<Report, Failure> {
    let pins = pin::pins(record)?;
    let first = route.stages.first().map(|stage| &stage.systems);
    let systems = first.cloned().unwrap_or_default();
    let plan = plan::of_systems(context, &request.options.policy.spread, &route.cluster, &route.nodes(), &systems)?;
    Ok(Report::new(route, &pins, record, plan))
}

fn refuse(report: &Report) -> Result<(), Failure> {
    if report.refusals.is_empty() {
        return Ok(());
    }
    let hints = report.plan.skew.iter().filter(|problem| problem.refuses).filter_map(|problem| problem.hint.clone());
    let failure = Failure::new(Kind::Refused, format!("the upgrade is refused: {}", report.refusals.join("; ")));
    Err(hints.take(1).fold(failure, Failure::hint))
}

/// Refuses what the members and nodes cannot take by now, and requests consent: to a new upgrade, and to one whose stages
/// are no longer those that were agreed, since a pin, a version or the nodes have changed.
fn agree(
    context: &Context,
    request: &Request,
    record: &mut Record,
    route: &Route,
    is_new: bool,
) -> Result<(), Failure> {
    let report = report(context, request, record, route)?;
    refuse(&report)?;
    let left = report.agreed();
    let changes = record.agreed.changes(&left);
    if is_new {
        consent(context, &report)?;
    } else if !changes.is_empty() {
        let text = format!("The upgrade has changed since it was agreed: {}\nContinue?", changes.join("; "));
        context
            .consent
            .ask(&Question::yes_or_no(&text, "the upgrade would not be the one that was agreed".to_owned()))?;
    } else {
        return Ok(());
    }
    record.agreed = left;
    record.write(&context.project)
}

fn consent(context: &Context, report: &Report) -> Result<(), Failure> {
    for caution in &report.cautions {
        context.events.warn(caution.clone());
    }
    if report.permanent.is_empty() {
        return Ok(());
    }
    let text = format!("This cannot be rolled back: {}\nContinue?", report.permanent.join("; "));
    context.consent.ask(&Question::yes_or_no(&text, "the upgrade cannot be rolled back".to_owned()))
}

/// Deploys one stage, after a snapshot of etcd.
fn stage(context: &Context, request: &Request, record: &mut Record, route: &Route) -> Result<Deployed, Failure> {
    context.stop_here()?;
    pin::refuse_changed(&context.project, record)?;
    let Some(stage) = route.stages.first() else { return Ok(Deployed::NothingToResume) };
    if !route.running.is_empty() {
        let file = context.project.local().join("snapshots").join(format!("etcd-{}.db.age", run_id(context)));
        snapshots::take(context, &file)?;
        context.events.note_all(format!("the data of etcd is in {}, encrypted to the operators", file.display()));
    }
    if enters_series(&route.running, &stage.etcd) {
        let verified = verify::run(context, true)?;
        verified.require()?;
        context.events.note_all("the data of each member of etcd has the members that etcd reports");
        record.enters_series = true;
        record.write(&context.project)?;
    }
    let mut state = context.project.state()?;
    if state.etcd.package != stage.package {
        state.etcd.package.clone_from(&stage.package);
        context.project.record(&state)?;
    }
    let left = route.stages.len();
    let noun = if left == 1 { "stage" } else { "stages" };
    let etcd = stage.etcd.values().max().map(|version| format!(", etcd {version}")).unwrap_or_default();
    context.events.note_all(format!("{left} {noun} left; now the new nixpkgs{etcd}"));
    let (options, building) = (request.options.clone(), request.building.clone());
    let request =
        deploy::Request { what: deploy::What::All, options, building, build_on: BuildOn::Local, objects: true };
    deploy::run(context, &request)
}
