//! `machinist deploy`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use machinist_etcd::permissions::Rules;
use machinist_kubernetes::desired::Desired;
use machinist_model::{Cluster, Node, NodeName, Orchestrator, Provider, RecordedState, Role};
use machinist_nix::StorePath;
use machinist_remote::Fingerprint;
use machinist_rollout::{
    deploy::{
        Context, Datastore, Deploy, DeployError, EtcdEnd, Outcome as NodeOutcome, Policy, Report, Request, Resume,
        Target, Topology, Traits, Verdict,
    },
    fan_out::FanOut,
    journal::{Journal, Record},
    membership::find_voice,
    plan::{PlanFile, Planned},
    step::{Connector, activate::Bounds},
    waves::{Limit, Reboots, Spread},
};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    args::Global,
    command::{certs, history, node::drain::workload, objects},
    connect,
    failure::{Failure, Kind, OrFail, Outcome},
    locks::{self, Locks},
    mesh, progress,
    project::Project,
    signals,
    systems::{self, BuildArgs, BuildOn},
    ui::{Tone, Ui},
};

/// Builds the targets' systems and brings them to the machines.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Names, globs such as `cp*`, `@role`, or `label=value`
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "resume", "plan"])]
    targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Go on with a run that was cut off, the last one if not said
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["targets", "all"])]
    resume: Option<String>,

    /// Bring exactly what `machinist plan --out FILE` wrote, or refuse because something has changed since
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["targets", "all", "resume", "max_unavailable", "canary", "across_zones", "reboot"]
    )]
    plan: Option<PathBuf>,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,

    /// Who builds: this computer (`local`), each target its own system (`target`), or a node for all of them
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with_all = ["store_path", "plan"])]
    build_on: BuildOn,

    /// Leave the objects in Kubernetes as they are
    #[arg(long)]
    no_objects: bool,
}

impl DeployArgs {
    /// A deploy of these machines, one after the other unless something else is asked for. Objects in Kubernetes stay.
    pub fn one_by_one(targets: Vec<String>, rollout: &RolloutArgs, building: &BuildArgs, build_on: &BuildOn) -> Self {
        let mut rollout = rollout.clone();
        rollout.spread.max_unavailable.get_or_insert(Limit::Nodes(1));
        let (building, build_on) = (building.clone(), build_on.clone());
        Self { targets, all: false, resume: None, plan: None, rollout, building, build_on, no_objects: true }
    }
}

/// How systems are brought to machines.
#[derive(Clone, Debug, Args)]
pub struct RolloutArgs {
    /// Seconds that an activation may take on a host before it is reverted
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    activation_timeout: u64,

    /// Seconds that a host waits for the confirmation before it reverts
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    confirm_timeout: u64,

    /// Seconds that a host may take from the word to reboot to the end of the next boot
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    reboot_timeout: u64,

    /// Confirm without gates and without a fresh connection: a system that locks you out stays
    #[arg(long)]
    no_rollback: bool,

    /// In which order
    #[command(flatten)]
    spread: SpreadArgs,

    /// Leave nodes that run the new system well as they are when another node of their wave fails
    #[arg(long)]
    no_revert: bool,

    /// Let hosts fetch what they lack from their own substituters, and send only the rest
    #[arg(long)]
    substitute_on_destination: bool,

    /// Go on although a host runs or boots what no deploy brought there
    #[arg(long)]
    accept_drift: bool,

    /// Whether nodes hand on to each other what they got, so that this computer's link carries it about once
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FanOutArg::Auto)]
    fan_out: FanOutArg,

    /// Pin the host key with this fingerprint (SHA256:...) in the place of the one that is pinned, or of none
    #[arg(long, value_name = "FINGERPRINT")]
    pub accept_host_key: Option<Fingerprint>,
}

/// How nodes without a vote are spread over waves.
#[derive(Clone, Debug, Args)]
pub struct SpreadArgs {
    /// How many nodes without a vote in etcd may change at the same time, such as 2 or 25%; a whole zone if not said
    #[arg(long, value_name = "N|P%", value_parser = Limit::parse)]
    max_unavailable: Option<Limit>,

    /// How many nodes without a vote go first, in a wave of their own
    #[arg(long, value_name = "N", default_value_t = 0)]
    canary: usize,

    /// Let nodes of several zones change at the same time
    #[arg(long)]
    across_zones: bool,

    /// Which nodes are rebooted after they have changed: `auto` takes those that have booted another kernel, initrd or
    /// kernel parameters than their system has; never any by default
    #[arg(long, value_name = "never|auto|always", value_parser = Reboots::parse)]
    reboot: Option<Reboots>,
}

impl SpreadArgs {
    /// Returns what was asked for.
    pub fn spread(&self) -> Spread {
        let Self { max_unavailable, canary, across_zones, reboot } = *self;
        Spread { max_unavailable, canary, across_zones, reboots: reboot.unwrap_or_default() }
    }
}

/// When nodes hand on what they got.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FanOutArg {
    /// From four nodes on, where it saves 48 MiB
    Auto,
    /// Wherever two nodes lack the same
    Always,
    /// Nowhere
    Never,
}

/// A member that only machines.nix knows could not join, and one that it no longer knows would still count for the
/// quorum: both take etcd's own membership change, which `machinist node` does.
fn refuse_changed_membership(cluster: &Cluster, state: &RecordedState) -> Result<(), Failure> {
    let wanted: BTreeSet<NodeName> = cluster.voters().map(|node| node.name.clone()).collect();
    let recorded = &state.etcd.members;
    if !state.etcd.bootstrapped || wanted == *recorded {
        return Ok(());
    }
    if cluster.orchestrator == Some(Orchestrator::K3s) {
        return refuse_lost_servers(recorded.difference(&wanted).map(NodeName::as_str).collect());
    }
    let mut changes = Vec::new();
    changes.extend(wanted.difference(recorded).map(|node| (node, "would be new", "join")));
    changes.extend(recorded.difference(&wanted).map(|node| (node, "would be gone", "remove")));
    let words: Vec<String> = changes.iter().map(|(node, what, _)| format!("{node} {what}")).collect();
    let commands: Vec<String> =
        changes.iter().map(|(node, _, verb)| format!("`machinist node {verb} {node}`")).collect();
    let message = format!("the members of the running etcd cluster would change: {}", words.join(", "));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "a deploy never changes who votes: {}; after a change by hand, record it in state/cluster.json",
        commands.join(", ")
    )))
}

/// A state file from before addresses were recorded cannot be contradicted: etcd itself is asked where its members are.
fn refuse_unrecorded_move(run: &Run<'_>, state: &RecordedState) -> Result<(), Failure> {
    if !state.etcd.bootstrapped || state.running.is_some() {
        return Ok(());
    }
    let askable: Vec<NodeName> = run.voters.keys().cloned().collect();
    let Ok(voice) = find_voice(&run.connector, &askable, &run.voters, None) else { return Ok(()) };
    let words: Vec<String> = voice.health.moved().map(|(node, urls)| format!("{node} is at {urls}")).collect();
    if words.is_empty() {
        return Ok(());
    }
    let message = format!("machines.nix has other addresses than the running etcd cluster: {}", words.join("; "));
    Err(Failure::new(Kind::Refused, message).hint(
        "write the addresses back: a member moves by `machinist node remove` and `machinist node join` (docs/etcd.md, \"Addresses \
         and ranges\")",
    ))
}

/// A new server of k3s joins when it is deployed. One that is gone from machines.nix is still a member, and counts for the quorum.
fn refuse_lost_servers(gone: Vec<&str>) -> Result<(), Failure> {
    let Some(first) = gone.first() else { return Ok(()) };
    let message = format!("{} would be gone from the servers of the running k3s cluster", gone.join(", "));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "take it out of the cluster first, at another server: `k3s kubectl delete node {first}`; then out of \
         state/cluster.json"
    )))
}

/// What stays the same through the passes of one deploy.
pub struct Run<'a> {
    /// The command's name.
    pub verb: &'static str,
    /// Who builds.
    pub build_on: &'a BuildOn,
    /// How.
    pub args: &'a RolloutArgs,
    /// The directory.
    pub project: &'a Project,
    /// What it describes.
    pub cluster: &'a Cluster,
    /// The targets.
    pub nodes: Vec<NodeName>,
    /// Who votes in etcd while this goes on.
    pub voters: BTreeMap<NodeName, IpAddr>,
    /// Reaches them.
    pub connector: Connector,
    /// The locks of the command.
    pub locks: &'a Locks,
    /// What holds for every command.
    pub global: &'a Global,
    /// The terminal.
    pub ui: Ui,
}

/// One pass: what is brought where, and its record.
pub struct Job {
    run: String,
    journal: Journal,
    targets: Vec<Target>,
    resumes: bool,
    from_host: bool,
    planned: Option<PlanFile>,
    /// What the run asked for before it was cut off.
    reboots: Option<Reboots>,
    rebooting: BTreeMap<NodeName, String>,
    rebooted: BTreeSet<NodeName>,
}

impl Job {
    /// Begins a run. With `from_host` the hosts have the systems already.
    pub fn new(project: &Project, locks: &Locks, targets: Vec<Target>, from_host: bool) -> Result<Self, Failure> {
        // The first run of a command has the name under which the nodes are locked.
        let first = locks.keeper.claimant().run.clone();
        let (run, journal) = match Journal::begin(&runs(project), &first) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let run = run_id();
                let journal = Journal::begin(&runs(project), &run);
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

    /// Goes on with a run that was cut off.
    fn resume(project: &Project, targets: Vec<Target>, record: &Record) -> Result<Self, Failure> {
        let run = record.run.clone();
        let journal = Journal::resume(&runs(project), &run).map_err(|error| match error.kind() {
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

/// The process of a run exists, whether it works or is suspended: two would act for one run.
fn still_exists(record: &Record) -> Failure {
    let process = record.process.map_or_else(|| "its process".to_owned(), |process| format!("its process {process}"));
    Failure::new(Kind::Refused, format!("run {} has not ended: {process} still exists", record.run))
        .hint("wait for it; one that is suspended goes on with SIGCONT or ends with SIGKILL, then this again")
}

fn runs(project: &Project) -> PathBuf {
    project.local().join("runs")
}

/// Runs the command.
pub fn run(args: &DeployArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let project = Project::open(global, ui)?.building(&args.building);
    let cluster = project.load()?.cluster;
    let resumed = match &args.resume {
        None => None,
        Some(wanted) => match history::unfinished(&project, wanted, ui)? {
            Some(record) => Some(record),
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    let planned = args.plan.as_ref().map(|path| planned(path, &cluster)).transpose()?;
    let nodes = match (&resumed, &planned) {
        (Some(record), _) => record.systems.keys().cloned().collect(),
        (_, Some(plan)) => plan.nodes.keys().cloned().collect(),
        _ => connect::select(&cluster, (!args.all).then_some(args.targets.as_slice()))?,
    };
    project.refuse_conflicts(&cluster)?;
    certs::require(&project, &cluster, &nodes)?;
    // Before anything is changed anywhere: a manifest that cannot be read is found now.
    let desired = if args.no_objects { None } else { objects::desired(&project, &cluster)? };
    let connector = connect::connector_to(&nodes, &project, &cluster, global, args.rollout.accept_host_key)?;
    let voters = voters(&cluster);
    let build_on = &args.build_on;
    let (args, project, cluster) = (&args.rollout, &project, &cluster);
    let state = project.state()?;
    refuse_changed_membership(cluster, &state)?;
    let lock = resumed.as_ref().map_or_else(run_id, |record| record.lock.clone());
    let locks = &Locks::new(lock, &connector, ui);
    let run = Run { verb: "deploy", build_on, args, project, cluster, nodes, voters, connector, locks, global, ui };
    refuse_unrecorded_move(&run, &state)?;
    let mut report = run.pass(&state, resumed.as_ref(), planned, BTreeSet::new())?;
    if !state.etcd.bootstrapped && report.etcd.as_ref().is_some_and(EtcdEnd::has_quorum) {
        report = run.settle(report)?;
    } else if state.etcd.bootstrapped {
        run.record_servers(&report)?;
    }
    run.record_running(&report)?;
    locks::record_machines(project, run.locks, &report)?;
    let objects_are_well = desired.is_none_or(|desired| run.bring_objects(&report, &desired));
    run.tell(&report, begun.elapsed());
    match &report.etcd {
        _ if report.lost.is_some() => {}
        Some(end) if end.has_quorum() => mesh::permit(&run.connector, cluster, &run.voters, ui)?,
        Some(_) => {}
        // No member was among the targets, and none was asked. A new node has no rights until one is.
        None if state.etcd.bootstrapped => {
            if let Err(failure) = mesh::permit(&run.connector, cluster, &run.voters, ui) {
                ui.warn(&format!("who may do what in etcd was not looked at: {}", failure.message));
            }
        }
        None => {}
    }
    match (objects_are_well, exit_code(&report)) {
        (false, 0) => Ok(ExitCode::from(Kind::Failed.code())),
        (_, code) => Ok(ExitCode::from(code)),
    }
}

impl RolloutArgs {
    fn policy(&self) -> Policy {
        Policy {
            accept_drift: self.accept_drift,
            spread: self.spread.spread(),
            no_revert: self.no_revert,
            no_rollback: self.no_rollback,
            substitute: self.substitute_on_destination,
            fan_out: match self.fan_out {
                FanOutArg::Auto => FanOut::Auto,
                FanOutArg::Always => FanOut::Always,
                FanOutArg::Never => FanOut::Never,
            },
            bounds: Bounds {
                activation: Duration::from_secs(self.activation_timeout),
                confirmation: Duration::from_secs(self.confirm_timeout),
                reboot: Duration::from_secs(self.reboot_timeout),
            },
        }
    }
}

impl Run<'_> {
    /// Generates, builds and rolls out once.
    pub fn pass(
        &self,
        state: &RecordedState,
        resumed: Option<&Record>,
        planned: Option<PlanFile>,
        rebooted: BTreeSet<NodeName>,
    ) -> Result<Report, Failure> {
        let generated = self.project.generated(self.cluster)?;
        generated.refuse_foreign()?;
        self.project.write_generated(&generated)?;
        let flake = self.project.flake()?;
        let systems = match self.build_on {
            BuildOn::Local => systems::build(self.project, &flake, &self.nodes, self.ui)?,
            on => systems::build_elsewhere(self.project, &flake, &self.nodes, on, &self.connector, self.ui)?,
        };
        let targets = targets(self.project, self.cluster, &systems)?;
        if let Some(plan) = &planned {
            refuse_other_systems(plan, &systems)?;
        }
        let mut job = match resumed {
            None => Job::new(self.project, self.locks, targets, false)?,
            Some(record) => {
                history::refuse_changed(record, &systems)?;
                Job::resume(self.project, targets, record)?
            }
        };
        job.planned = planned;
        job.from_host = *self.build_on == BuildOn::Target;
        job.rebooted.extend(rebooted);
        self.roll_out(state, job)
    }

    /// The cluster around the targets.
    fn topology(&self, state: &RecordedState) -> Topology {
        let traits = self.cluster.deployable().map(|node| (node.name.clone(), traits(self.cluster, node)));
        Topology {
            members: self.voters.clone(),
            bootstrapped: state.etcd.bootstrapped,
            datastore: Datastore::of(self.cluster.k3s_founder().map(|node| node.name.clone())),
            electorate: locks::electorate(self.cluster, state),
            known: locks::known(self.cluster, state, self.args.accept_host_key.is_some()),
            traits: traits.collect(),
            mesh: Rules::of(self.cluster),
        }
    }

    /// Brings systems to the machines.
    pub fn roll_out(&self, state: &RecordedState, job: Job) -> Result<Report, Failure> {
        let Job { run, journal, targets, resumes, from_host, planned, reboots, rebooting, rebooted } = job;
        if self.ui.verbose {
            self.ui.story(&format!("this run is recorded in {}", journal.path().display()));
        }
        let deploy = Deploy {
            context: Context {
                connector: Arc::clone(&self.connector),
                locks: Arc::clone(&self.locks.keeper),
                keys: certs::key_source(self.project, self.cluster, self.global),
                nix: self.project.nix.clone(),
                workload: workload(self.project, self.cluster, &self.connector, self.global),
                events: progress::events(self.ui, &self.nodes),
                journal: Arc::new(journal),
            },
            policy: Policy { spread: spread_of(self.args, planned.as_ref(), reboots), ..self.args.policy() },
            request: Request { run, targets, topology: self.topology(state), from_host, planned, rebooted },
            resume: resumes.then_some(Resume { rebooting }),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
        let result = runtime.block_on(async {
            signals::stop_on(self.locks.keeper.interrupt().clone(), self.ui);
            deploy.run().await
        });
        // A thread may still wait for a host that hangs: what it would say matters to nobody now.
        runtime.shutdown_background();
        result.map_err(|error| {
            let refused = matches!(error, DeployError::Waves(_) | DeployError::Moved(_));
            let kind = if refused { Kind::Refused } else { Kind::Failed };
            let moved = matches!(error, DeployError::Moved(_)).then(|| PLAN_AGAIN.to_owned());
            Failure::from_error(kind, &error).maybe_hint(moved)
        })
    }

    /// After the first quorum: records it, so that no node is ever again told to form a new cluster, and brings that
    /// to the nodes. It changes a file in /etc and restarts nothing.
    fn settle(&self, first: Report) -> Result<Report, Failure> {
        let mut state = self.project.state()?;
        let is_k3s = self.cluster.orchestrator == Some(Orchestrator::K3s);
        state.etcd.bootstrapped = true;
        state.etcd.members = self.cluster.voters().map(|node| node.name.clone()).collect();
        if let (true, Some(etcd)) = (is_k3s, &first.etcd) {
            state.etcd.members = etcd.known.clone();
        }
        state.record_running(self.cluster, &state.etcd.members.clone());
        self.project.record(&state)?;
        // Servers of k3s come one by one: if one failed, the rest is for the next deploy.
        if first.interrupted || first.lost.is_some() || (is_k3s && exit_code(&first) != 0) {
            return Ok(first);
        }
        if self.project.building.is_given() {
            let now = "etcd has formed its quorum; recorded in state/cluster.json. The systems that were given still say \
                       that the cluster is new: build them again from the directory as it is now, and deploy those";
            self.ui.warn(now);
            return Ok(first);
        }
        if !self.ui.json {
            self.ui.story("etcd has formed its quorum; recorded in state/cluster.json, bringing that to the members");
        }
        let mut report = self.pass(&state, None, None, first.rebooted.clone())?;
        report.rebooted.extend(first.rebooted);
        for (node, outcome) in first.nodes {
            let now = report.nodes.entry(node).or_insert_with(|| outcome.clone());
            if *now == NodeOutcome::Unchanged {
                *now = outcome;
            }
        }
        Ok(report)
    }

    /// Records the servers of k3s that have come since.
    fn record_servers(&self, report: &Report) -> Result<(), Failure> {
        let (Some(Orchestrator::K3s), Some(etcd)) = (self.cluster.orchestrator, &report.etcd) else { return Ok(()) };
        let mut state = self.project.state()?;
        let before = state.etcd.members.len();
        state.etcd.members.extend(etcd.known.iter().cloned());
        if state.etcd.members.len() > before { self.project.record(&state) } else { Ok(()) }
    }

    /// After a run that went well: records what the cluster runs with, by what etcd itself says of its members. State files from
    /// before that was recorded are filled in.
    pub fn record_running(&self, report: &Report) -> Result<(), Failure> {
        match &report.etcd {
            Some(etcd) if exit_code(report) == 0 => self.project.record_running(self.cluster, &etcd.known),
            _ => Ok(()),
        }
    }

    /// Brings the objects to a cluster that came out of the run well. Returns whether there is nothing to complain about.
    fn bring_objects(&self, report: &Report, desired: &Desired) -> bool {
        let went_wrong =
            |outcome: &NodeOutcome| matches!(outcome, NodeOutcome::Failed { .. } | NodeOutcome::Reverted { .. });
        let has_quorum = report.etcd.as_ref().is_none_or(EtcdEnd::has_quorum);
        let is_founded = self.project.state().is_ok_and(|state| state.etcd.bootstrapped);
        if report.interrupted
            || report.lost.is_some()
            || !has_quorum
            || !is_founded
            || report.nodes.values().any(went_wrong)
        {
            if !self.ui.json {
                self.ui.story("the objects in Kubernetes were left as they are: first the machines must be well");
            }
            return true;
        }
        objects::after_deploy(self.project, self.cluster, &self.connector, self.global, desired, self.ui)
    }

    /// Returns the exit code that the report deserves.
    pub fn exit_code(&self, report: &Report) -> ExitCode {
        ExitCode::from(exit_code(report))
    }

    /// Says what became of all.
    pub fn tell(&self, report: &Report, took: Duration) {
        if self.ui.json {
            self.ui.result_json_line(&serde_json::json!({ "event": "report", "report": report }));
            return;
        }
        let count = |wanted: fn(&NodeOutcome) -> bool| report.nodes.values().filter(|outcome| wanted(outcome)).count();
        let changed = count(|outcome| *outcome == NodeOutcome::Changed);
        let unchanged = count(|outcome| *outcome == NodeOutcome::Unchanged);
        let left = report.nodes.len() - changed - unchanged;
        let etcd = match &report.etcd {
            Some(etcd) if etcd.is_whole() && etcd.alarm.is_some() => self.ui.paint(Tone::Bad, ", etcd refuses writes"),
            Some(etcd) if etcd.is_whole() => self.ui.paint(Tone::Good, ", etcd healthy"),
            Some(EtcdEnd { healthy: Some(healthy), members, .. }) => {
                self.ui.paint(Tone::Bad, &format!(", only {healthy} of {members} etcd members healthy"))
            }
            Some(EtcdEnd { healthy: None, .. }) => self.ui.paint(Tone::Bad, ", etcd gave no answer"),
            None => String::new(),
        };
        let failed = if left > 0 { self.ui.paint(Tone::Bad, &format!(", {left} not done")) } else { String::new() };
        let rebooted = match report.rebooted.len() {
            0 => String::new(),
            count => format!(", {count} rebooted"),
        };
        let seconds = took.as_secs_f64();
        self.ui.result(&format!("{changed} changed, {unchanged} unchanged{rebooted}{failed}{etcd} ({seconds:.1} s)"));
        for problem in report.etcd.iter().flat_map(|etcd| &etcd.problems) {
            self.ui.story(&format!("etcd: {problem}"));
        }
        if let Some(alarm) = report.etcd.as_ref().and_then(|etcd| etcd.alarm.as_ref()) {
            self.ui.story(&format!("{alarm}; `machinist etcd status` explains it"));
        }
        for (node, why) in &report.reboot_due {
            self.ui.story(&format!("{node} needs a reboot for {}: `--reboot auto` does that", why.join(", ")));
        }
        if left > 0 {
            self.ui.story(&format!("now {}", standing(report)));
        }
        if report.interrupted {
            self.ui.story("the run was stopped; every host runs and boots one whole system. Deploy again to go on");
        }
        if let Some(why) = &report.lost {
            self.ui.story(&format!("this run has lost its locks, and did nothing more then: {why}"));
        }
        for (node, outcome) in &report.nodes {
            if let NodeOutcome::NotStarted { why } = outcome {
                self.ui.story(&format!("{node} was not touched: {why}"));
            }
        }
        if left > 0 {
            self.ui.story(&format!("to do the rest: {}", self.again(report)));
        }
    }

    /// The command for the nodes that are not done.
    fn again(&self, report: &Report) -> String {
        let is_done = |outcome: &NodeOutcome| matches!(outcome, NodeOutcome::Changed | NodeOutcome::Unchanged);
        let rest = report.nodes.iter().filter(|(_, outcome)| !is_done(outcome)).map(|(node, _)| node.as_str());
        let directory = &self.global.directory;
        let mut words = vec!["machinist".to_owned()];
        if directory != Path::new(".") {
            words.extend(["-C".to_owned(), machinist_remote::quote(&directory.display().to_string())]);
        }
        words.push(self.verb.to_owned());
        words.extend(rest.map(str::to_owned));
        if let Some(reboots) = self.args.spread.reboot {
            words.extend(["--reboot".to_owned(), reboots.as_str().to_owned()]);
        }
        words.join(" ")
    }
}

/// Returns what a deploy brings to the nodes: their systems and the private keys that these need.
pub fn targets(
    project: &Project,
    cluster: &Cluster,
    systems: &BTreeMap<NodeName, StorePath>,
) -> Result<Vec<Target>, Failure> {
    let keys = certs::key_files(&certs::inventory(project)?, cluster);
    let target = |(node, system): (&NodeName, &StorePath)| {
        let keys = keys.get(node).cloned().unwrap_or_default();
        let provider = cluster.nodes.get(node).map(|node| node.provider);
        // A sandbox machine is a Debian until its first deploy; any other machine gets NixOS by `install`.
        let installs_itself = provider == Some(Provider::Sandbox);
        Target { node: node.clone(), system: system.clone(), keys, installs_itself }
    };
    Ok(systems.iter().map(target).collect())
}

/// Returns the members that machines.nix names, with their addresses.
pub fn voters(cluster: &Cluster) -> BTreeMap<NodeName, IpAddr> {
    cluster.voters().map(|node| (node.name.clone(), node.ip)).collect()
}

/// Returns what decides how the node is treated.
pub fn traits(cluster: &Cluster, node: &Node) -> Traits {
    Traits {
        platform: node.system.clone(),
        zone: node.labels.get("zone").cloned(),
        ingress: node.roles.contains(&Role::Ingress),
        control_plane: node.roles.contains(&Role::ControlPlane),
        router: cluster.is_router(node),
        address: Some(node.ip),
    }
}

/// Reads a plan that was kept.
fn planned(path: &Path, cluster: &Cluster) -> Result<PlanFile, Failure> {
    let input = |message: String| Failure::new(Kind::Input, format!("{}: {message}", path.display())).hint(PLAN_AGAIN);
    let text = std::fs::read_to_string(path).map_err(|error| input(error.to_string()))?;
    let plan = PlanFile::parse(&text, &cluster.name).map_err(|error| input(error.to_string()))?;
    match plan.nodes.keys().find(|name| !cluster.deployable().any(|node| node.name == **name)) {
        Some(gone) => Err(input(format!("it changes {gone}, which machines.nix no longer deploys"))),
        None => Ok(plan),
    }
}

/// What to do about a plan that cannot be used.
const PLAN_AGAIN: &str = "make a new plan and read it: `machinist plan --out FILE`";

/// The directory must still say what was planned: what runs afterwards would otherwise not be what it says.
fn refuse_other_systems(plan: &PlanFile, systems: &BTreeMap<NodeName, StorePath>) -> Result<(), Failure> {
    let other = |(node, planned): (&NodeName, &Planned)| {
        let now = systems.get(node).filter(|now| **now != planned.system)?;
        Some(format!("\n{node}: {}\n  now {now}", planned.system))
    };
    let list: String = plan.nodes.iter().filter_map(other).collect();
    if list.is_empty() {
        return Ok(());
    }
    let message = format!("the directory has changed since {} made the plan at {}:{list}", plan.by, plan.made);
    Err(Failure::new(Kind::Refused, message).hint(PLAN_AGAIN))
}

/// The order is the plan's own, and a run that goes on reboots what it was to reboot, unless that is said anew.
fn spread_of(args: &RolloutArgs, planned: Option<&PlanFile>, before: Option<Reboots>) -> Spread {
    let mut spread = planned.map_or_else(|| args.spread.spread(), |plan| plan.spread.clone());
    if let (None, Some(before)) = (args.spread.reboot, before) {
        spread.reboots = before;
    }
    spread
}

/// Says which nodes run what, after not all went well.
fn standing(report: &Report) -> String {
    let runs = |outcome: &NodeOutcome| match outcome {
        NodeOutcome::Changed | NodeOutcome::Unchanged | NodeOutcome::Failed { verdict: Verdict::Confirmed, .. } => {
            "the new system runs on"
        }
        NodeOutcome::Failed { verdict: Verdict::Away, .. } => "rebooted and not back:",
        NodeOutcome::Failed { verdict: Verdict::Broken, .. } => "a system that could not be reverted runs on",
        NodeOutcome::Failed { verdict: Verdict::Unknown, .. } => "it is not known what runs on",
        _ => "the system before runs on",
    };
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, outcome) in &report.nodes {
        groups.entry(runs(outcome)).or_default().push(node.as_str());
    }
    let parts: Vec<String> = groups.iter().map(|(runs, nodes)| format!("{runs} {}", nodes.join(", "))).collect();
    parts.join("; ")
}

/// The time, to the millisecond: sorts, and two runs of one operator never share it.
pub fn run_id() -> String {
    let format = format_description!("[year][month][day]t[hour][minute][second]-[subsecond digits:3]");
    OffsetDateTime::now_utc().format(format).unwrap_or_else(|_| std::process::id().to_string())
}

fn exit_code(report: &Report) -> u8 {
    let any = |wanted: fn(&NodeOutcome) -> bool| report.nodes.values().any(wanted);
    let went_wrong = any(|outcome| matches!(outcome, NodeOutcome::Failed { .. } | NodeOutcome::Reverted { .. }));
    if went_wrong || report.interrupted || report.lost.is_some() {
        Kind::Failed.code()
    } else if any(|outcome| matches!(outcome, NodeOutcome::Refused { .. } | NodeOutcome::NotStarted { .. })) {
        Kind::Refused.code()
    } else if report.etcd.as_ref().is_some_and(|etcd| !etcd.is_whole()) {
        Kind::Failed.code()
    } else {
        0
    }
}
