//! Membership of etcd: a node joins, leaves, or is replaced. Each change can be repeated after an interruption: it
//! queries the current state and continues from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use machinist_etcd::{
    etcd::{hexadecimal, peer_url},
    membership::{join_objection, removal_objection},
};
use machinist_model::{Cluster, Node, NodeName, Orchestrator, RecordedMachine, RecordedState, moving::Command};
use machinist_pki::Policy;
use machinist_rollout::{
    deploy::Report,
    lock::{Scope, Token},
    membership::{self, Voice, find_voice},
    readdress::update_peers,
    step::{Connector, StepError, gather},
};

use super::{
    moving::{self, During},
    promotions,
    readdress::{self, Readdressed},
    without_vote::{self, What},
};
use crate::{
    certs, connect,
    consent::Question,
    context::Context,
    failure::{Failure, Kind},
    locks::{self, Locks},
    project,
    rollout::{options::Options, run::Run, target::voters},
    run_id::run_id,
    snapshot::snapshot,
    systems::{BuildOn, Building},
};

/// Request for a change of membership.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kind of the change.
    pub what: What,
    /// Name of the node.
    pub node: NodeName,
    /// Continues without taking a snapshot of etcd's data.
    pub no_snapshot: bool,
    /// Rollout options for the systems.
    pub options: Options,
}

/// Outcome of a change.
#[derive(Clone, Debug)]
pub enum Changed {
    /// The change is complete, and every member knows it.
    Done {
        /// State of the node now, such as `votes`.
        what: &'static str,
        /// The members of etcd.
        members: BTreeSet<NodeName>,
    },
    /// The node is no longer a member, but another one must leave before the members get their new facts.
    OneOfSeveral {
        /// Name of that other node.
        next: NodeName,
    },
    /// The machine had no vote; everything about it was removed from etcd.
    Forgotten,
    /// The lost machine is no member any more, and another one can take its place.
    Left,
    /// A rollout within the change failed: the same request continues once the cause is fixed.
    NotDone {
        /// Outcome of each node.
        report: Box<Report>,
    },
}

/// Changes the set of voters.
///
/// # Errors
/// The change is refused, or it was interrupted: the same request continues.
pub fn run(context: &Context, request: &Request) -> Result<Changed, Failure> {
    let begun = Instant::now();
    let node = &request.node;
    let project = &context.project;
    let declared = project.load_declared()?.cluster;
    let state = project.state()?;
    refuse_while_replaced(&state, request.what, node)?;
    let during = During::of(&state, request.what, node, &declared)?;
    let cluster = during.cluster(declared);
    let is_lost_without_vote = matches!(during, During::Removed(_)) && !state.etcd.members.contains(node);
    if cluster.orchestrator == Some(Orchestrator::K3s) && !is_lost_without_vote {
        let failure = Failure::new(Kind::Input, "the servers of k3s change by themselves who votes in its etcd");
        return Err(failure.hint(format!(
            "a server joins when it is deployed: `machinist deploy {node}`; one goes, or comes back with an empty disk, after \
             `k3s kubectl delete node {node}` at another server"
        )));
    }
    if !state.etcd.bootstrapped && !is_lost_without_vote {
        let failure = Failure::new(Kind::Input, "there is no running etcd cluster yet");
        return Err(failure.hint("`machinist deploy --all` founds it with all the members that machines.nix names"));
    }
    project::refuse(&during.conflicts(&state, &cluster))?;
    let connector = connect::connector(context, &cluster, request.options.accept_host_key)?;
    if !state.etcd.members.contains(node)
        && let Some(answer) = without_vote::answer(request.what, node, &cluster, &state, &connector, context)
    {
        answer?;
        if let During::Removed(moving) = &during {
            moving::end(context, project.state()?, &cluster, moving)?;
        }
        return Ok(Changed::Forgotten);
    }
    if during != During::Rest {
        // Those in certs/ may be for another step of the move.
        certs::issue::update(context, &cluster, &Policy::default(), &project.certs(), certs::hosts::Signing::Existing)?;
    }
    let locks = Locks::new(context, run_id(context), &connector);
    let mut change = Change {
        locks,
        node,
        no_snapshot: request.no_snapshot,
        options: &request.options,
        begun,
        context,
        cluster: &cluster,
        state,
        during,
        connector,
    };
    let changed = match request.what {
        What::Join => change.join(),
        What::Remove => change.remove(),
        What::Replace => change.replace(),
        What::Leave => change.leave(),
        What::Return => change.come_back(),
    }?;
    let is_on_its_way = matches!((&change.during, &changed), (During::Replaced { .. }, Changed::Done { .. }));
    // The move takes the locks itself.
    drop(change);
    if is_on_its_way { finish_move(context, request, changed) } else { Ok(changed) }
}

/// Refuses changes beside a machine that is being replaced, and changes of that node that are no step of it.
fn refuse_while_replaced(state: &RecordedState, what: What, node: &NodeName) -> Result<(), Failure> {
    let Some(replacing) = &state.replacing else { return Ok(()) };
    let is_step = matches!(what, What::Leave | What::Return | What::Remove);
    if replacing.node == *node && is_step {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, replacing).hint(replacing.continuation()))
}

/// Takes the rest of the move of a node that votes again.
fn finish_move(context: &Context, request: &Request, changed: Changed) -> Result<Changed, Failure> {
    let Request { node, options, .. } = request;
    context.events.note(node, "votes; the rest of its move follows, which `machinist node readdress` continues");
    let request = readdress::Request { node: node.clone(), no_snapshot: true, options: options.clone() };
    match readdress::run(context, &request)? {
        Readdressed::NotDone { report } => Ok(Changed::NotDone { report }),
        Readdressed::Nothing { .. } | Readdressed::Done { .. } => Ok(changed),
    }
}

/// One change, under its locks.
struct Change<'a> {
    begun: Instant,
    /// Locks on all voters and on the node, held from the first query of etcd to the end.
    locks: Locks,
    node: &'a NodeName,
    no_snapshot: bool,
    options: &'a Options,
    context: &'a Context,
    cluster: &'a Cluster,
    state: RecordedState,
    /// The move that is under way, if there is one.
    during: During,
    connector: Connector,
}

impl Change<'_> {
    /// Locks all voters and, unless it is leaving, the node: only one operator at a time may change the voters. While
    /// another node moves, both of its addresses are admitted from then on.
    fn lock(&mut self, node: Option<&NodeName>) -> Result<(), Failure> {
        let scope = locks::of_voters(self.cluster, &self.state, node.cloned());
        let known = locks::known(self.cluster, &self.state, self.options.accept_host_key.is_some());
        self.locks.hold(&Scope { known, ..scope }, &BTreeMap::new())?;
        if self.context.project.state()? != self.state {
            let failure = Failure::new(Kind::Refused, "state/cluster.json has changed since this command began");
            return Err(failure.hint("another command has ended meanwhile: run this one again"));
        }
        let During::Beside(moving) = &self.during else { return Ok(()) };
        self.state.moving = Some(moving.clone());
        self.context.project.record(&self.state)
    }

    /// Returns the node from machines.nix; refuses one without the required role.
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

    /// Returns the members that are both in machines.nix and in the record, except `self.node`.
    fn others(&self) -> BTreeMap<NodeName, IpAddr> {
        let mut voters = voters(self.cluster);
        voters.retain(|name, _| name != self.node && self.state.etcd.members.contains(name));
        voters
    }

    fn join(&mut self) -> Result<Changed, Failure> {
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
        promotions::warn(self.context, self.node, &voice.health);
        self.snapshot(&voice)?;
        self.say("the other members let it in");
        let others = self.others();
        if let Some(report) = self.pass(others.keys().cloned().collect(), others)? {
            return Ok(Changed::NotDone { report });
        }
        // The connection may have dropped during the rollout.
        let voice = self.voice(None).unwrap_or(voice);
        self.take_in(&wanted, &voice)
    }

    fn remove(&mut self) -> Result<Changed, Failure> {
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
        let mut addresses: Vec<IpAddr> = self.cluster.nodes.get(self.node).map(|node| node.ip).into_iter().collect();
        if let During::Removed(moving) = &self.during {
            addresses.extend([moving.from, moving.to]);
        }
        let found = voice.health.unmanaged.iter().find(|stranger| {
            let at = |ip: &IpAddr| stranger.peer_urls.contains(&peer_url(*ip));
            stranger.name == self.node.as_str() || addresses.iter().any(at)
        });
        if let Some(id) = found.map(|stranger| stranger.id) {
            self.take_out(&voice, id, "it votes no more")?;
        }
        self.state.etcd.members.remove(self.node);
        self.state.replacing.take_if(|replacing| replacing.node == *self.node);
        self.state.machines.remove(self.node);
        if let During::Removed(moving) = &self.during {
            self.state = moving::end(self.context, self.state.clone(), self.cluster, moving)?;
        }
        self.context.project.record(&self.state)?;
        match self.leaving().first() {
            None => self.settle("is no member any more"),
            // The new facts omit that node, so they must not reach the members before it has left too.
            Some(next) => {
                self.say(&format!("is no member any more; next: `machinist node remove {next}`"));
                Ok(Changed::OneOfSeveral { next: NodeName::clone(next) })
            }
        }
    }

    /// Returns the recorded members that machines.nix does not contain.
    fn leaving(&self) -> Vec<&NodeName> {
        let wanted = voters(self.cluster);
        self.state.etcd.members.iter().filter(|member| !wanted.contains_key(*member)).collect()
    }

    /// Facts that omit a member which still votes would lock it out.
    fn refuse_while_one_leaves(&self) -> Result<(), Failure> {
        match self.leaving().first() {
            None => Ok(()),
            Some(leaving) => Err(Failure::new(Kind::Refused, format!("{leaving} is to leave etcd, and still votes"))
                .hint(format!("first: `machinist node remove {leaving}`"))),
        }
    }

    fn replace(&mut self) -> Result<Changed, Failure> {
        let wanted = self.wanted()?.clone();
        self.refuse_while_one_leaves()?;
        self.context.require_certificates(self.cluster, std::slice::from_ref(self.node))?;
        self.lock(Some(self.node))?;
        let voice = self.voice(Some(self.node))?;
        if let Some(objection) = join_objection(&voice.health, self.node) {
            return Err(self.refused("cannot be replaced now", &objection));
        }
        promotions::warn(self.context, self.node, &voice.health);
        let member = voice.health.members.get(self.node);
        // A learner is left from an earlier attempt, which continues from there.
        let is_left_over = |_: &u64| self.is_recorded() || self.during.is_elsewhere(&wanted);
        match member.and_then(|member| member.id).filter(is_left_over) {
            Some(id) => self.take_out(&voice, id, "its data is put aside, and it reads all anew from the others")?,
            None => self.snapshot(&voice)?,
        }
        if let During::Replaced { then, .. } = &self.during {
            self.state.record_move(then);
        }
        self.state.etcd.members.remove(self.node);
        self.context.project.record(&self.state)?;
        if let Some(report) = self.admit_again()? {
            return Ok(Changed::NotDone { report });
        }
        // The others know it and admit it, as before: they need no deploy until it votes again.
        let voice = self.voice(None)?;
        self.take_in(&wanted, &voice)
    }

    /// Removes the member of a machine that is lost. The others keep its address and its place.
    fn leave(&mut self) -> Result<Changed, Failure> {
        self.wanted()?;
        self.refuse_while_one_leaves()?;
        self.lock(None)?;
        let voice = self.voice(Some(self.node))?;
        let member = voice.health.members.get(self.node).and_then(|member| member.id);
        if let Some(objection) = join_objection(&voice.health, self.node) {
            return Err(self.refused("cannot be replaced now", &objection));
        }
        // What would be left with the machine is in the snapshot, whether its member is there still or not.
        match member {
            Some(id) => self.take_out(&voice, id, "another machine takes its place")?,
            None => self.snapshot(&voice)?,
        }
        if let During::Replaced { then, .. } = &self.during {
            self.state.record_move(then);
        }
        self.state.forget_member(self.node);
        self.context.project.record(&self.state)?;
        Ok(Changed::Left)
    }

    /// Lets the machine join that has taken the place of a lost one. One that votes already is only told to the others.
    fn come_back(&mut self) -> Result<Changed, Failure> {
        let wanted = self.wanted()?.clone();
        self.refuse_while_one_leaves()?;
        self.context.require_certificates(self.cluster, std::slice::from_ref(self.node))?;
        self.lock(Some(self.node))?;
        if self.is_recorded() {
            return self.settle("votes");
        }
        let voice = self.voice(Some(self.node))?;
        if let Some(objection) = join_objection(&voice.health, self.node) {
            return Err(self.refused("cannot join now", &objection));
        }
        promotions::warn(self.context, self.node, &voice.health);
        if let Some(report) = self.admit_again()? {
            return Ok(Changed::NotDone { report });
        }
        let voice = self.voice(None)?;
        self.take_in(&wanted, &voice)
    }

    /// Deploys the facts to the others that admit a node at its new address, if it was replaced in the middle of a move.
    fn admit_again(&self) -> Result<Option<Box<Report>>, Failure> {
        let During::Replaced { then, .. } = &self.during else { return Ok(None) };
        self.say(&format!("the other members admit it at {} and {}", then.to, then.from));
        let others = self.others();
        self.pass(others.keys().cloned().collect(), others)
    }

    /// Finds a member whose view of the cluster is confirmed by the other members and this node.
    fn voice(&self, away: Option<&NodeName>) -> Result<Voice, Failure> {
        let others = self.others();
        let mut members = others.clone();
        if let Ok(node) = self.wanted() {
            members.insert(node.name.clone(), self.during.address_in_etcd(node));
        }
        // A member that has come back since is not locked, so it cannot be changed.
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

    /// Removes a member from etcd, after the checks, the confirmation and the snapshot.
    fn take_out(&self, voice: &Voice, id: u64, then: &str) -> Result<(), Failure> {
        if let Some(objection) = removal_objection(&voice.health, id) {
            return Err(self.refused("cannot be removed now", &objection));
        }
        let text = format!("remove {} from the running etcd cluster ({then})?", self.node);
        let consequence = format!("{} would be removed from the running etcd cluster", self.node);
        self.context.consent.ask(&Question::yes_or_no(&text, consequence))?;
        self.snapshot(voice)?;
        let token = self.token(&voice.node)?;
        membership::remove(voice, &token, id).map_err(|error| self.failed(&error))?;
        self.say(&format!("is removed from etcd (member {})", hexadecimal(id)));
        Ok(())
    }

    /// Promotes an admitted node to a voter: it starts as a learner.
    fn take_in(&mut self, node: &Node, voice: &Voice) -> Result<Changed, Failure> {
        let others = self.others();
        self.use_one_address(voice)?;
        let known = voice.health.members.get(self.node);
        let never_ran = !known.is_some_and(|member| member.started);
        let mut id = known.and_then(|member| member.id);
        if never_ran && self.has_data()? {
            // systemd may start etcd at any moment: as a learner that was added before, it may have begun to read by now.
            if let Some(id) = id.take() {
                membership::remove(voice, &self.token(&voice.node)?, id).map_err(|error| self.failed(&error))?;
            }
            self.put_stale_data_aside()?;
        }
        if id.is_none() {
            let token = self.token(&voice.node)?;
            membership::add_learner(voice, &token, self.node, node.ip).map_err(|error| self.failed(&error))?;
            self.say("is a learner now, without a vote");
        }
        if let Some(report) = self.pass(vec![self.node.clone()], others)? {
            return Ok(Changed::NotDone { report });
        }
        if never_ran {
            // Activating a system that already ran there does not start units that were stopped.
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
        let address = Some(node.ip);
        let machine = machine_id.map(|machine_id| (self.node.clone(), RecordedMachine { machine_id, address }));
        self.state.machines.extend(machine);
        self.context.project.record(&self.state)?;
        // A member is written again with one peer URL: while another one moves, that waits for `etcd verify --repair`.
        if self.state.unsafe_move(Command::RepairEtcd).is_none() {
            promotions::check(self.context, &self.connector, &self.locks, voice, &members);
        }
        self.settle("votes")
    }

    /// Leaves another member that moves with the peer URL in use: etcd starts on a new member only if its settings name
    /// exactly the peer URLs of all others.
    fn use_one_address(&self, voice: &Voice) -> Result<(), Failure> {
        let During::Beside(moving) = &self.during else { return Ok(()) };
        let Some(id) = voice.health.members.get(&moving.node).and_then(|member| member.id) else { return Ok(()) };
        let token = self.token(&voice.node)?;
        update_peers(voice, &token, id, &[moving.address()]).map_err(|error| self.failed(&error))
    }

    fn has_data(&self) -> Result<bool, Failure> {
        let facts = self.connector.connect(self.node).map_err(StepError::from).and_then(|remote| gather(&*remote));
        Ok(facts.map_err(|error| self.failed(&error))?.etcd_data)
    }

    /// Moves stale data aside: a member that has never run would resume the data's former identity.
    fn put_stale_data_aside(&self) -> Result<(), Failure> {
        let aside = self.connector.connect(self.node).map_err(StepError::from).and_then(|remote| {
            let token = self.locks.token(self.node)?;
            membership::put_aside(&*remote, &token, &run_id(self.context))
        });
        let aside = aside.map_err(|error| self.failed(&error))?;
        self.say(&format!("had data of a former membership: it is in {aside} now"));
        Ok(())
    }

    /// Deploys the current facts to the nodes. Returns the report if a node failed.
    fn pass(&self, nodes: Vec<NodeName>, voters: BTreeMap<NodeName, IpAddr>) -> Result<Option<Box<Report>>, Failure> {
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
        let left = run.step(&self.state, self.begun)?;
        if left.is_some() {
            self.say("is not done: run the same command again when that is fixed");
        }
        Ok(left)
    }

    /// Deploys the changed record: every member learns the new set of voters, and none of them restarts.
    fn settle(&self, what: &'static str) -> Result<Changed, Failure> {
        let voters: BTreeMap<NodeName, IpAddr> =
            voters(self.cluster).into_iter().filter(|(name, _)| self.state.etcd.members.contains(name)).collect();
        if let Some(report) = self.pass(voters.keys().cloned().collect(), voters.clone())? {
            return Ok(Changed::NotDone { report });
        }
        self.context.project.record_running(self.cluster, &self.state.etcd.members)?;
        Ok(Changed::Done { what, members: self.state.etcd.members.clone() })
    }
}
