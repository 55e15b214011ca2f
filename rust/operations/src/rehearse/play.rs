//! Acts of a rehearsal: the machines come up with the systems before, are deployed to, and are rolled back.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, NodeName, Orchestrator, Role};
use machinist_nix::StorePath;
use machinist_pki::Inventory;
use machinist_rollout::{
    deploy::Report,
    step::{Connector, StepError},
};
use machinist_sandbox as sandbox;

use super::{
    Request,
    directory::{self, Keys, with_events},
    figures::Span,
    http,
    load::{Ended, Load, Member},
    machines,
    place::Place,
    report::{Act, Rehearsal, of_report},
    store::Credentials,
    units::{self, FailedUnit, Units},
    watch::{Waves, in_the_background},
};
use crate::{
    connect,
    context::Context,
    deploy::{self, Deployed, What},
    etcd::restore,
    failure::{Failure, Kind, OrFail as _},
    history, query, rollback,
    rollout::{options::Options, verdict::verdict},
    systems::{self, BuildOn},
};

/// Time limit from the start of the machines to a healthy etcd.
const FOUNDING: Duration = Duration::from_secs(90);

/// Poll interval of an interrupt and of etcd.
const TICK: Duration = Duration::from_millis(200);

/// Client port of etcd (`modules/etcd.nix`).
const ETCD: u16 = 2379;

/// A rehearsal on its place.
pub struct Play<'a> {
    outer: &'a Context,
    request: &'a Request,
    directory: PathBuf,
    commit: String,
    keys: Keys,
    before: Context,
    cluster: Cluster,
}

impl<'a> Play<'a> {
    /// Makes keys and the directory of the systems before.
    ///
    /// # Errors
    /// The directory at that commit is not a valid cluster.
    pub fn open(outer: &'a Context, request: &'a Request, commit: String, place: &Place) -> Result<Self, Failure> {
        let directory = place.directory()?;
        let keys = Keys::make(&directory, place.sandbox())?;
        let before = directory::before(outer, &keys, &commit, &directory.join("before"))?;
        let before = with_events(&before, in_the_background(&outer.events));
        let cluster = before.project.load()?.cluster;
        Ok(Self { outer, request, directory, commit, keys, before, cluster })
    }

    /// Performs the rehearsal.
    ///
    /// # Errors
    /// The machines do not come up with the systems before, the directory cannot be built, or it was interrupted.
    pub fn perform(&self) -> Result<Rehearsal, Failure> {
        let say = |text: &str| self.outer.events.progress(text);
        say(&format!("rehearsal machines boot the systems of {}", &self.commit[..self.commit.len().min(12)]));
        self.come_up()?;
        self.restore()?;
        self.outer.stop_here()?;
        let after = directory::after(self.outer, &self.keys, &self.before, &self.directory.join("after"))?;
        let cluster = after.project.load()?.cluster;
        self.add_new_machines(&after, &cluster)?;
        let stage = Stage { after: &after, connector: connect::connector(&after, &cluster, None)?, cluster: &cluster };
        let load = self.load(&cluster)?;
        say("the deploy begins, under a load of writes and reads");
        let before = stage.all_units()?;
        let what = self.request.targets.clone().map_or(What::All, What::Machines);
        let (deploy, mut problems) =
            self.act("deploy", &stage, &load, &before, |context| self.deploy(context, what))?;
        let rollback = if self.request.rollback && deploy.changed() {
            say("the way back: a rollback of what changed");
            let (act, found) =
                self.act("rollback", &stage, &load, &before, |context| self.roll_back(context, &deploy))?;
            problems.extend(found);
            Some(act)
        } else {
            None
        };
        let lost_writes = match load.finish() {
            Ended::NothingWritten => None,
            Ended::Lost(count) => Some(count),
            Ended::Unreadable => {
                problems.push("etcd: it cannot be read at the end".to_owned());
                None
            }
        };
        if let Some(lost) = lost_writes.filter(|lost| *lost > 0) {
            problems.push(format!("etcd: {lost} acknowledged writes are lost"));
        }
        Ok(Rehearsal { from: self.commit.clone(), deploy, rollback, lost_writes, problems, kept: None })
    }

    /// Starts the machines with the systems before, and lets a first deploy found the cluster.
    fn come_up(&self) -> Result<(), Failure> {
        let nodes: Vec<NodeName> = self.cluster.deployable().map(|node| node.name.clone()).collect();
        let systems = self.build(&self.before, &self.cluster, &nodes)?;
        self.outer.stop_here()?;
        let report = self.start(&self.before, &self.cluster, &systems)?;
        self.outer.events.detail(format!("the operator of the machines is {}", report.operator_ip));
        let request = deploy::Request {
            what: What::All,
            options: Options::default(),
            building: self.request.building.clone(),
            build_on: BuildOn::Local,
            objects: false,
        };
        let connector = connect::connector(&self.before, &self.cluster, None)?;
        self.await_etcd(&connector)?;
        let report = ended(deploy::run(&self.before, &request)?);
        self.outer.stop_here()?;
        match verdict(&report) {
            None => Ok(()),
            Some(_) => Err(not_up(&self.commit, &report)),
        }
    }

    fn start(
        &self,
        context: &Context,
        cluster: &Cluster,
        systems: &BTreeMap<NodeName, StorePath>,
    ) -> Result<sandbox::Report, Failure> {
        let report = machines::start(context, cluster, systems, &self.request.beneath)?;
        let connector = connect::connector(context, cluster, None)?;
        machines::register(&connector, &systems.keys().cloned().collect::<Vec<_>>())?;
        Ok(report)
    }

    /// Waits until all members are healthy. After the time limit the deploy reports what is wrong with them.
    fn await_etcd(&self, connector: &Connector) -> Result<(), Failure> {
        let members: Vec<NodeName> = self.cluster.with_role(Role::Etcd).map(|node| node.name.clone()).collect();
        let begun = Instant::now();
        while !members.is_empty() && begun.elapsed() < FOUNDING {
            self.outer.stop_here()?;
            let health = query::etcd(&self.cluster, &query::nodes(&members, connector)?);
            if health.is_some_and(|health| health.healthy() == members.len()) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn build(
        &self,
        context: &Context,
        cluster: &Cluster,
        nodes: &[NodeName],
    ) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
        let generated = context.project.generated(cluster)?;
        generated.refuse_foreign()?;
        context.project.write_generated(&generated)?;
        systems::build(context, &self.request.building, cluster, &context.project.flake()?, nodes)
    }

    /// Starts machines for nodes that the directory has now and did not have before, with their present systems.
    fn add_new_machines(&self, after: &Context, cluster: &Cluster) -> Result<(), Failure> {
        let is_new = |node: &&machinist_model::Node| !self.cluster.deployable().any(|known| known.name == node.name);
        let nodes: Vec<NodeName> = cluster.deployable().filter(is_new).map(|node| node.name.clone()).collect();
        if nodes.is_empty() {
            return Ok(());
        }
        let systems = self.build(after, cluster, &nodes)?;
        self.start(after, cluster, &systems).map(drop)
    }

    /// Restores the requested snapshot, which the caller's own identity decrypts.
    fn restore(&self) -> Result<(), Failure> {
        let Some(snapshot) = &self.request.snapshot else { return Ok(()) };
        let context = Context { keyring: self.outer.keyring.clone(), ..self.before.clone() };
        let request = restore::Request {
            snapshot: snapshot.display().to_string(),
            discard_running_data: true,
            options: Options::default(),
        };
        match restore::run(&context, &request)? {
            restore::End::Restored(restored) => {
                let keys = restored.keys;
                self.outer.events.progress(format!("etcd has the {keys} keys of {}", snapshot.display()));
                Ok(())
            }
            restore::End::NotDone { report } => Err(not_up(&self.commit, &report)),
        }
    }

    fn load(&self, cluster: &Cluster) -> Result<Load, Failure> {
        let status = sandbox::status(&crate::sandbox::state_dir(&self.before.project, cluster))
            .map_err(|error| crate::sandbox::failed(&error))?;
        let targets = http::targets(&self.request.urls, cluster)?;
        let is_member = |name: &str| self.cluster.with_role(Role::Etcd).any(|node| node.name.as_str() == name);
        let members = status.machines.iter().filter(|machine| is_member(&machine.name));
        let members: Vec<Member> = members
            .map(|machine| Member {
                name: machine.name.clone(),
                url: format!("https://{}", SocketAddr::new(machine.ip, ETCD)),
                namespace: machine.namespace.clone(),
            })
            .collect();
        let has_etcd = !members.is_empty() && cluster.orchestrator != Some(Orchestrator::K3s);
        let credentials = if has_etcd { Some(self.credentials()?) } else { None };
        Ok(Load::start(members, credentials, targets, &status.operator_namespace))
    }

    fn credentials(&self) -> Result<Credentials, Failure> {
        let directory = &self.before.project.directory;
        let inventory = Inventory::read(directory).failed()?;
        let missing = || Failure::new(Kind::Failed, "certs/ of the rehearsal has no client certificate for etcd");
        let operator = inventory.operators.get("etcd-operator").ok_or_else(missing)?;
        let authority = inventory.authorities.get("etcd").ok_or_else(missing)?;
        let read = |path: &str| std::fs::read(directory.join(path)).failed();
        let identities = self.before.keyring.unlock()?;
        Ok(Credentials {
            authority: read(Path::new(authority).to_str().unwrap_or_default())?,
            certificate: read(&operator.certificate)?,
            key: inventory.key(operator, &identities, &self.cluster.operators).failed()?,
        })
    }

    fn deploy(&self, context: &Context, what: What) -> Result<Report, Failure> {
        let request = deploy::Request {
            what,
            options: self.request.options.clone(),
            building: self.request.building.clone(),
            build_on: BuildOn::Local,
            objects: false,
        };
        deploy::run(context, &request).map(ended)
    }

    /// Rolls the changed nodes back to the systems of the run that founded the cluster.
    fn roll_back(&self, context: &Context, deployed: &Act) -> Result<Report, Failure> {
        let first = history::run(&self.before)?.runs.pop();
        let first =
            first.ok_or_else(|| Failure::new(Kind::Failed, "the rehearsal has no record of its first deploy"))?;
        let changed = deployed.changed_nodes().filter(|node| first.systems.contains_key(*node));
        let targets = Some(changed.map(ToString::to_string).collect());
        let options = self.request.options.clone();
        rollback::run(context, &rollback::Request { targets, to: Some(first.run), options })
    }

    /// Performs an operation and watches the machines for a while. Returns its figures and its problems.
    fn act(
        &self,
        what: &str,
        stage: &Stage<'_>,
        load: &Load,
        before: &BTreeMap<NodeName, Units>,
        operation: impl FnOnce(&Context) -> Result<Report, Failure>,
    ) -> Result<(Act, Vec<String>), Failure> {
        let (begun, from) = (Instant::now(), load.elapsed());
        let waves = Waves::default();
        let report = operation(&with_events(stage.after, waves.listen(&self.outer.events)))?;
        let end = Instant::now();
        if report.interrupted {
            self.outer.interrupt.set();
        }
        self.outer.stop_here()?;
        let since = stage.units();
        let watched = Instant::now();
        while watched.elapsed() < self.request.watch {
            self.outer.stop_here()?;
            thread::sleep(TICK.min(self.request.watch));
        }
        let (units, silent) = stage.failed_units(before, &since)?;
        let span = Span { from, to: load.elapsed() };
        let act = Act {
            nodes: report.nodes.clone(),
            waves: waves.times(end),
            took: end.duration_since(begun),
            units,
            etcd: load.etcd(span),
            urls: load.http(span),
        };
        let mut problems = act.problems(what, self.request.limits);
        problems.extend(silent.iter().map(|node| format!("{node} does not answer after the {what}")));
        problems.extend(of_report(&report, what));
        Ok((act, problems))
    }
}

/// The machines and their present configuration.
struct Stage<'a> {
    after: &'a Context,
    connector: Connector,
    cluster: &'a Cluster,
}

impl Stage<'_> {
    /// Queries the units of all machines. One that does not answer has none.
    fn units(&self) -> BTreeMap<NodeName, Units> {
        let nodes = self.cluster.deployable().map(|node| node.name.clone());
        nodes.filter_map(|node| Some((node.clone(), units::query(&self.connector, &node).ok()?))).collect()
    }

    /// Queries the units of all machines, all of which must answer.
    fn all_units(&self) -> Result<BTreeMap<NodeName, Units>, Failure> {
        let units = self.units();
        match self.cluster.deployable().find(|node| !units.contains_key(&node.name)) {
            None => Ok(units),
            Some(node) => {
                let text = format!("{}: it does not answer before the change", node.name);
                Err(Failure::new(Kind::Refused, text))
            }
        }
    }

    /// Returns the units that failed since a moment, and the machines that do not answer.
    fn failed_units(
        &self,
        before: &BTreeMap<NodeName, Units>,
        since: &BTreeMap<NodeName, Units>,
    ) -> Result<(Vec<FailedUnit>, Vec<NodeName>), Failure> {
        let none = Units::new();
        let mut found = Vec::new();
        let units = self.units();
        let names = self.cluster.deployable().map(|node| node.name.clone());
        let silent = names.filter(|name| !units.contains_key(name)).collect();
        for (node, now) in units {
            let [before, since] = [before, since].map(|units| units.get(&node).unwrap_or(&none));
            let failed = units::failed(before, since, &now);
            let on_node = |error: StepError| Failure::on(&node, Kind::Failed, &error);
            found.extend(units::explained(&self.connector, &node, failed).map_err(on_node)?);
        }
        Ok((found, silent))
    }
}

fn ended(deployed: Deployed) -> Report {
    match deployed {
        Deployed::Ended { report, .. } => *report,
        Deployed::NothingToResume => Report::default(),
    }
}

/// Returns the refusal of a rehearsal whose machines do not work with the systems before.
fn not_up(commit: &str, report: &Report) -> Failure {
    let act = Act { nodes: report.nodes.clone(), ..Act::default() };
    let mut problems = act.problems("deploy", super::Limits { gap: Duration::MAX });
    problems.extend(of_report(report, "deploy"));
    let commit = &commit[..commit.len().min(12)];
    let failure = Failure::new(
        Kind::Refused,
        format!("rehearsal machines do not come up with the systems of {commit}: {}", problems.join("; ")),
    );
    failure.hint("`--keep` leaves the machines for a look; `--from REV` names another revision")
}
