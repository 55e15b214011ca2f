//! `machinist node`: who votes in etcd, and which node takes pods. Each command can be run again after it was cut off: it asks what is true and goes
//! on from there.

mod drain;
mod without_vote;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand};
use machinist_etcd::membership::{hexadecimal, join_objection, removal_objection};
use machinist_model::{Cluster, Node, NodeName, Orchestrator, RecordedMachine, RecordedState};
use machinist_operations::{
    connect,
    context::Context,
    locks::{self, Locks},
    rollout::{options::Options, run::Run, target::voters, verdict::verdict},
    run_id::run_id,
    snapshot::snapshot,
    systems::{BuildOn, Building},
};
use machinist_rollout::{
    deploy::{EtcdEnd, Outcome as NodeOutcome},
    lock::{Scope, Token},
    membership::{self, Voice, find_voice},
    step::{Connector, StepError, gather},
};

use self::without_vote::Membership;
use crate::{
    args::{Global, RolloutArgs, node_name},
    consent, context,
    failure::{Failure, Kind, Outcome, exit_code},
    ui::Ui,
};

/// Changes who votes in etcd, and which nodes take pods.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Let a node that machines.nix gives the role `etcd` join the running cluster, as a learner first
    Join(NodeArgs),
    /// Take a machine that machines.nix no longer has out of the running cluster's etcd: its vote, or what it may do there
    Remove(NodeArgs),
    /// Take a member out and let it join anew with empty data, as after its disk was wiped
    Replace(NodeArgs),
    /// Before a node goes down: evict its pods of Kubernetes, or take its instances out of the mesh
    Drain(drain::DrainArgs),
    /// Let pods, or connections to its instances, onto a node again
    Uncordon(drain::UncordonArgs),
}

/// Which node, and how systems are brought to machines.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Go on without a snapshot of etcd's data
    #[arg(long)]
    no_snapshot: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(command: &NodeCommand, global: &Global, ui: Ui) -> Outcome {
    let (wanted, args) = match command {
        NodeCommand::Join(args) => (Membership::Join, args),
        NodeCommand::Remove(args) => (Membership::Remove, args),
        NodeCommand::Replace(args) => (Membership::Replace, args),
        NodeCommand::Drain(args) => return drain::drain(args, global, ui),
        NodeCommand::Uncordon(args) => return drain::uncordon(args, global, ui),
    };
    let NodeArgs { node, no_snapshot, rollout } = args;
    let no_snapshot = *no_snapshot;
    let begun = Instant::now();
    let options = rollout.options();
    let context = context::of_rollout("deploy", options.reboots, global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let state = project.state()?;
    if cluster.orchestrator == Some(Orchestrator::K3s) {
        let failure = Failure::new(Kind::Input, "the servers of k3s change by themselves who votes in its etcd");
        return Err(failure.hint(format!(
            "a server joins when it is deployed: `machinist deploy {node}`; one goes, or comes back with an empty disk, after \
             `k3s kubectl delete node {node}` at another server"
        )));
    }
    if !state.etcd.bootstrapped {
        let failure = Failure::new(Kind::Input, "there is no running etcd cluster yet");
        return Err(failure.hint("`machinist deploy --all` founds it with all the members that machines.nix names"));
    }
    project.refuse_conflicts(&cluster)?;
    let connector = connect::connector(&context, &cluster, rollout.accept_host_key)?;
    if !state.etcd.members.contains(node)
        && let Some(answer) = without_vote::answer(wanted, node, &cluster, &state, &connector, &context)
    {
        return answer.map(|()| ExitCode::SUCCESS);
    }
    let locks = Locks::new(&context, run_id(&context), &connector);
    let mut change = Change {
        locks,
        node,
        no_snapshot,
        options: &options,
        begun,
        context: &context,
        cluster: &cluster,
        state,
        connector,
        global,
        ui,
    };
    match wanted {
        Membership::Join => change.join(),
        Membership::Remove => change.remove(),
        Membership::Replace => change.replace(),
    }
}

struct Change<'a> {
    /// Of all voters, and of the node, from the first look at etcd to the end.
    locks: Locks,
    node: &'a NodeName,
    no_snapshot: bool,
    options: &'a Options,
    begun: Instant,
    context: &'a Context,
    cluster: &'a Cluster,
    state: RecordedState,
    connector: Connector,
    global: &'a Global,
    ui: Ui,
}

impl Change<'_> {
    /// Locks all voters and, unless it is to leave, the node: who votes is for one person at a time to change.
    fn lock(&self, node: Option<&NodeName>) -> Result<(), Failure> {
        let scope = locks::of_voters(self.cluster, &self.state, node.cloned());
        let known = locks::known(self.cluster, &self.state, self.options.accept_host_key.is_some());
        self.locks.hold(&Scope { known, ..scope }, &BTreeMap::new())
    }

    /// The node as machines.nix has it, with the role that it needs.
    fn wanted(&self) -> Result<&Node, Failure> {
        let node = self.cluster.etcd_members().find(|node| node.name == *self.node);
        node.ok_or_else(|| {
            Failure::new(Kind::Input, format!("machines.nix has no node {} with the role \"etcd\"", self.node))
                .hint("add it there first; `machinist check` says what it needs")
        })
    }

    fn is_recorded(&self) -> bool {
        self.state.etcd.members.contains(self.node)
    }

    /// The members that machines.nix and the record both have, but `self.node`.
    fn others(&self) -> BTreeMap<NodeName, IpAddr> {
        let mut voters = voters(self.cluster);
        voters.retain(|name, _| name != self.node && self.state.etcd.members.contains(name));
        voters
    }

    fn join(&mut self) -> Outcome {
        let wanted = self.wanted()?.clone();
        if self.is_recorded() {
            let failure = Failure::new(Kind::Input, format!("{} is a recorded member already", self.node));
            return Err(failure.hint(format!(
                "`machinist status` says how it is; after its data was lost: `machinist node replace {}`",
                self.node
            )));
        }
        self.refuse_while_one_leaves()?;
        self.context.require_certificates(self.cluster, std::slice::from_ref(self.node))?;
        self.lock(Some(self.node))?;
        let voice = self.voice(None)?;
        if let Some(objection) = join_objection(&voice.health, self.node) {
            return Err(self.refused("cannot join now", &objection));
        }
        self.snapshot(&voice)?;
        self.say("the other members let it in");
        let others = self.others();
        if let Some(code) = self.pass(others.keys().cloned().collect(), others)? {
            return Ok(code);
        }
        // The pass may have cut the connection.
        let voice = self.voice(None).unwrap_or(voice);
        self.take_in(&wanted, &voice)
    }

    fn remove(&mut self) -> Outcome {
        if self.wanted().is_ok() {
            let failure =
                Failure::new(Kind::Input, format!("machines.nix still gives {} the role \"etcd\"", self.node));
            return Err(failure.hint(format!(
                "take the role away there first; to let it join anew: `machinist node replace {}`",
                self.node
            )));
        }
        if !self.is_recorded() {
            let members: Vec<&str> = self.state.etcd.members.iter().map(NodeName::as_str).collect();
            let message = format!("{} is no recorded member of etcd; those are {}", self.node, members.join(", "));
            return Err(Failure::new(Kind::Input, message));
        }
        self.lock(None)?;
        let voice = self.voice(None)?;
        let address = self.cluster.nodes.get(self.node).map(|node| node.ip);
        let found = voice.health.unmanaged.iter().find(|stranger| {
            let at = |ip: IpAddr| stranger.peer_urls.contains(&machinist_etcd::etcd::peer_url(ip));
            stranger.name == self.node.as_str() || address.is_some_and(at)
        });
        if let Some(id) = found.map(|stranger| stranger.id) {
            self.take_out(&voice, id, "it votes no more")?;
        }
        self.state.etcd.members.remove(self.node);
        self.state.machines.remove(self.node);
        self.context.project.record(&self.state)?;
        match self.leaving().first() {
            None => self.settle("is no member any more"),
            // The facts no longer have that one, so they must not reach the members before it has left too.
            Some(next) => {
                self.say(&format!("is no member any more; next: `machinist node remove {next}`"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// The recorded members that machines.nix no longer has.
    fn leaving(&self) -> Vec<&NodeName> {
        let wanted = voters(self.cluster);
        self.state.etcd.members.iter().filter(|member| !wanted.contains_key(*member)).collect()
    }

    /// Facts without a member that still votes would shut it out.
    fn refuse_while_one_leaves(&self) -> Result<(), Failure> {
        match self.leaving().first() {
            None => Ok(()),
            Some(leaving) => Err(Failure::new(Kind::Refused, format!("{leaving} is to leave etcd, and still votes"))
                .hint(format!("first: `machinist node remove {leaving}`"))),
        }
    }

    fn replace(&mut self) -> Outcome {
        let wanted = self.wanted()?.clone();
        self.refuse_while_one_leaves()?;
        self.context.require_certificates(self.cluster, std::slice::from_ref(self.node))?;
        self.lock(Some(self.node))?;
        let voice = self.voice(Some(self.node))?;
        if let Some(objection) = join_objection(&voice.health, self.node) {
            return Err(self.refused("cannot be replaced now", &objection));
        }
        let member = voice.health.members.get(self.node);
        // A learner is what an earlier try left behind: it goes on from there.
        match member.and_then(|member| member.id).filter(|_| self.is_recorded()) {
            Some(id) => self.take_out(&voice, id, "its data is put aside, and it reads all anew from the others")?,
            None => self.snapshot(&voice)?,
        }
        self.state.etcd.members.remove(self.node);
        self.context.project.record(&self.state)?;
        // The others know it and let it in, as before: nothing is brought to them until it votes again.
        let voice = self.voice(None)?;
        self.take_in(&wanted, &voice)
    }

    /// Finds a member that answers for the others. Its answer is held against those and this node.
    fn voice(&self, away: Option<&NodeName>) -> Result<Voice, Failure> {
        let others = self.others();
        let mut members = others.clone();
        if let Ok(node) = self.wanted() {
            members.insert(node.name.clone(), node.ip);
        }
        // One that came back since cannot be told anything: it is not locked.
        let askable: Vec<NodeName> = others.into_keys().filter(|node| self.locks.keeper.has(node)).collect();
        find_voice(&self.connector, &askable, &members, away).map_err(|error| {
            let message = format!("no other member of etcd can be asked: {error}");
            Failure::new(Kind::Failed, message).maybe_hint(error.hint())
        })
    }

    fn refused(&self, what: &str, objection: &str) -> Failure {
        Failure::new(Kind::Refused, format!("{} {what}: {objection}", self.node))
            .hint("`machinist status` shows the members; bring them back first")
    }

    fn token(&self, node: &NodeName) -> Result<Token, Failure> {
        self.locks.token(node).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &StepError) -> Failure {
        let failure = Failure::from_error(Kind::Failed, error).maybe_hint(error.hint());
        failure.hint(format!("run the same command again: it goes on where {} stands", self.node))
    }

    fn say(&self, text: &str) {
        self.context.events.note(self.node, text);
    }

    fn snapshot(&self, voice: &Voice) -> Result<(), Failure> {
        if self.no_snapshot {
            return Ok(());
        }
        let file = self.context.project.local().join("snapshots").join(format!("etcd-{}.db.age", run_id(self.context)));
        snapshot(self.cluster, voice, &file)?;
        self.say(&format!("before it changes: the data of etcd is in {}, encrypted to the operators", file.display()));
        Ok(())
    }

    /// Removes a member from etcd, after the checks, the question and the snapshot.
    fn take_out(&self, voice: &Voice, id: u64, then: &str) -> Result<(), Failure> {
        if let Some(objection) = removal_objection(&voice.health, id) {
            return Err(self.refused("cannot be removed now", &objection));
        }
        let question = format!("remove {} from the running etcd cluster ({then})? [y/N]", self.node);
        let nobody = format!("{} would be removed from the running etcd cluster", self.node);
        consent::ask(&question, consent::YES, &nobody, self.global)?;
        self.snapshot(voice)?;
        let token = self.token(&voice.node)?;
        membership::remove(voice, &token, id).map_err(|error| self.failed(&error))?;
        self.say(&format!("is removed from etcd (member {})", hexadecimal(id)));
        Ok(())
    }

    /// From a node that the others let in to one that votes: it starts as a learner and is promoted.
    fn take_in(&mut self, node: &Node, voice: &Voice) -> Outcome {
        let others = self.others();
        let known = voice.health.members.get(self.node);
        if known.is_none_or(|member| member.id.is_none()) {
            let token = self.token(&voice.node)?;
            membership::add_learner(voice, &token, self.node, node.ip).map_err(|error| self.failed(&error))?;
            self.say("is a learner now, without a vote");
        }
        let never_ran = !known.is_some_and(|member| member.started);
        if never_ran {
            self.put_stale_data_aside()?;
        }
        if let Some(code) = self.pass(vec![self.node.clone()], others)? {
            return Ok(code);
        }
        if never_ran {
            // A system that ran there before already has no reason to start what was stopped.
            let fresh = self.connector.connect(self.node).map_err(StepError::from);
            let token = self.token(self.node)?;
            fresh.and_then(|remote| membership::start(&*remote, &token)).map_err(|error| self.failed(&error))?;
        }
        let mut members = self.others();
        members.insert(self.node.clone(), node.ip);
        let token = || self.locks.token(&voice.node);
        let promoted =
            membership::promote(voice, token, &members, self.node, |why| self.say(&format!("learns: {why}")));
        promoted.map_err(|error| self.failed(&error))?;
        self.state.etcd.members.insert(self.node.clone());
        let machine_id = self.locks.keeper.machine_ids().remove(self.node);
        let machine = machine_id.map(|machine_id| (self.node.clone(), RecordedMachine { machine_id }));
        self.state.machines.extend(machine);
        self.context.project.record(&self.state)?;
        self.settle("votes")
    }

    /// A member that has never run must find no data: it would take itself for who it was before.
    fn put_stale_data_aside(&self) -> Result<(), Failure> {
        let asked = self.connector.connect(self.node).map_err(StepError::from).and_then(|remote| {
            let facts = gather(&*remote)?;
            let token = self.locks.token(self.node)?;
            Ok(if facts.etcd_data {
                Some(membership::put_aside(&*remote, &token, &run_id(self.context))?)
            } else {
                None
            })
        });
        match asked {
            Ok(Some(aside)) => self.say(&format!("had data of a former membership: it is in {aside} now")),
            Ok(None) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(())
    }

    /// Brings the facts as they are now to the nodes. The exit code if that did not go well.
    fn pass(&self, nodes: Vec<NodeName>, voters: BTreeMap<NodeName, IpAddr>) -> Result<Option<ExitCode>, Failure> {
        if nodes.is_empty() {
            return Ok(None);
        }
        let run = Run {
            context: self.context,
            build_on: &BuildOn::Local,
            building: &Building::default(),
            options: self.options,
            cluster: self.cluster,
            nodes,
            voters,
            connector: Connector::clone(&self.connector),
            locks: &self.locks,
        };
        let report = run.pass(&self.state, None, None, BTreeSet::new())?;
        let is_done = |outcome: &NodeOutcome| matches!(outcome, NodeOutcome::Changed | NodeOutcome::Unchanged);
        // While a learner is there, etcd is not whole as these voters see it.
        let holds = report.etcd.as_ref().is_none_or(EtcdEnd::has_quorum);
        if holds && report.nodes.values().all(is_done) {
            return Ok(None);
        }
        let code = exit_code(verdict(&report));
        run.report(&report, self.begun.elapsed());
        self.say("is not done: run the same command again when that is mended");
        Ok(Some(code))
    }

    /// The record has changed: every member learns who votes, which restarts none of them.
    fn settle(&self, what: &str) -> Outcome {
        let voters: BTreeMap<NodeName, IpAddr> =
            voters(self.cluster).into_iter().filter(|(name, _)| self.state.etcd.members.contains(name)).collect();
        if let Some(code) = self.pass(voters.keys().cloned().collect(), voters.clone())? {
            return Ok(code);
        }
        self.context.project.record_running(self.cluster, &self.state.etcd.members)?;
        let members: BTreeSet<&NodeName> = self.state.etcd.members.iter().collect();
        if self.ui.json {
            self.ui.result_json_line(&serde_json::json!({ "event": "report", "node": self.node, "members": members }));
        } else {
            let members: Vec<&str> = members.into_iter().map(NodeName::as_str).collect();
            let seconds = self.begun.elapsed().as_secs_f64();
            self.ui.result(&format!(
                "{} {what}; the members of etcd are {} ({seconds:.1} s)",
                self.node,
                members.join(", ")
            ));
            self.ui.story("commit state/cluster.json and generated/");
        }
        Ok(ExitCode::SUCCESS)
    }
}
