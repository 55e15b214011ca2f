//! Execution of a move's steps under the locks of all voters.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use machinist_etcd::membership::join_objection;
use machinist_model::{Cluster, Move, NodeName, Provider, RecordedState, moving::Step};
use machinist_pki::Policy;
use machinist_remote::{KnownHosts, host_pattern};
use machinist_rollout::{
    deploy::Report,
    lock::{Scope, Token},
    membership::{Voice, find_voice},
    readdress,
    step::{
        Connector, StepError,
        gate::{Demand, EtcdGate},
    },
};
use machinist_sandbox::{self as sandbox, default_state_dir};

use super::{Readdressed, Request};
use crate::{
    certs, connect,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    locks::{self, Locks},
    mesh,
    rollout::{run::Run, target::voters},
    run_id::run_id,
    sandbox::failed as sandbox_failed,
    snapshot::snapshot,
    systems::{BuildOn, Building},
};

/// Time limit for the members to be healthy after a change of a peer URL.
const SETTLING: Duration = Duration::from_secs(60);

/// The steps of one move.
pub(super) struct Steps<'a> {
    context: &'a Context,
    request: &'a Request,
    /// The cluster with the addresses of machines.nix.
    declared: Cluster,
    state: RecordedState,
    begun: Instant,
    /// Locks on all voters and on the node, held in all steps, and taken again before the last one.
    locks: Locks,
}

/// The cluster and the connections to it during one step.
struct View {
    cluster: Cluster,
    connector: Connector,
}

impl<'a> Steps<'a> {
    pub(super) fn new(
        context: &'a Context,
        request: &'a Request,
        declared: Cluster,
        state: RecordedState,
        begun: Instant,
    ) -> Result<Self, Failure> {
        let mut cluster = declared.clone();
        if let Some(moving) = super::wanted(&declared, &state, &request.node)? {
            pin(context, &cluster, &moving)?;
            moving.apply(&mut cluster);
        }
        let connector = connect::connector(context, &cluster, request.options.accept_host_key)?;
        let locks = Locks::new(context, run_id(context), &connector);
        let steps = Self { context, request, declared, state, begun, locks };
        steps.lock(&cluster)?;
        Ok(steps)
    }

    fn lock(&self, cluster: &Cluster) -> Result<(), Failure> {
        let scope = locks::of_voters(cluster, &self.state, [self.request.node.clone()]);
        let known = locks::known(cluster, &self.state, self.request.options.accept_host_key.is_some());
        self.locks.hold(&Scope { known, ..scope }, &BTreeMap::new())
    }

    /// Takes the locks again, over connections that the loss of the old address does not cut. For a moment nobody holds
    /// them: if another run takes one then, this one stops before the step.
    fn lock_at_new_address(&mut self, view: &View) -> Result<(), Failure> {
        self.locks = Locks::new(self.context, run_id(self.context), &view.connector);
        self.lock(&view.cluster)
    }

    /// Takes the steps from that of the move to the last.
    pub(super) fn run(&mut self, mut moving: Move) -> Result<Readdressed, Failure> {
        if self.state.moving.is_none() {
            self.begin(&moving)?;
        }
        loop {
            self.context.stop_here()?;
            self.state.record_move(&moving);
            self.context.project.record(&self.state)?;
            let left = match moving.step {
                Step::Admit => self.admit(&moving)?,
                Step::Switch => self.switch(&moving)?,
                Step::Close => self.close(&moving)?,
            };
            if let Some(report) = left {
                return Ok(Readdressed::NotDone { report });
            }
            moving.step = match moving.step {
                Step::Admit => Step::Switch,
                Step::Switch => Step::Close,
                Step::Close => break,
            };
        }
        self.state.record_arrival(&moving);
        self.context.project.record(&self.state)?;
        Ok(Readdressed::Done { moving })
    }

    fn is_member(&self) -> bool {
        self.state.etcd.bootstrapped && self.state.etcd.members.contains(&self.request.node)
    }

    fn say(&self, text: &str) {
        self.context.events.note(&self.request.node, text);
    }

    fn view(&self, moving: &Move) -> Result<View, Failure> {
        let mut cluster = self.declared.clone();
        moving.apply(&mut cluster);
        let connector = connect::connector(self.context, &cluster, self.request.options.accept_host_key)?;
        Ok(View { cluster, connector })
    }

    /// Checks the members and takes a snapshot before the first step.
    fn begin(&self, moving: &Move) -> Result<(), Failure> {
        if !self.is_member() {
            return Ok(());
        }
        let view = self.view(moving)?;
        let voice = self.voice(&view)?;
        if let Some(objection) = join_objection(&voice.health, &moving.node) {
            return Err(self.refused(&objection));
        }
        self.refuse_without_quorum(&voice)?;
        if self.request.no_snapshot {
            return Ok(());
        }
        let file = self.context.project.local().join("snapshots").join(format!("etcd-{}.db.age", run_id(self.context)));
        snapshot(&view.cluster, &voice, &file)?;
        self.say(&format!("before it moves: the data of etcd is in {}, encrypted to the operators", file.display()));
        Ok(())
    }

    /// Lets all nodes and the machine itself have the new address, too.
    fn admit(&self, moving: &Move) -> Result<Option<Box<Report>>, Failure> {
        let view = self.view(moving)?;
        self.say(&format!("admit: both addresses, {} and {}, are to work", moving.from, moving.to));
        self.certificates(&view)?;
        if let Some(report) = self.pass(&view)? {
            return Ok(Some(report));
        }
        self.verify(&view, moving)?;
        self.set_peers(&view, &[moving.from, moving.to])?;
        Ok(None)
    }

    /// Lets all nodes and the machine itself use the new address.
    fn switch(&self, moving: &Move) -> Result<Option<Box<Report>>, Failure> {
        let view = self.view(moving)?;
        self.say(&format!("switch: {} is used from now on, {} still works", moving.to, moving.from));
        self.certificates(&view)?;
        self.pass(&view)
    }

    /// Takes the old address away.
    fn close(&mut self, moving: &Move) -> Result<Option<Box<Report>>, Failure> {
        let view = self.view(moving)?;
        self.say(&format!("close: {} ends", moving.from));
        self.lock_at_new_address(&view)?;
        self.verify_source(&view, moving)?;
        self.set_peers(&view, &[moving.to])?;
        self.certificates(&view)?;
        if let Some(report) = self.pass(&view)? {
            return Ok(Some(report));
        }
        self.retire(&view, moving)?;
        if self.state.etcd.bootstrapped {
            mesh::permit(&view.connector, &view.cluster, &self.voters(&view), &self.context.events)?;
        }
        self.forget(&view.cluster, moving)?;
        Ok(None)
    }

    fn voters(&self, view: &View) -> BTreeMap<NodeName, IpAddr> {
        let mut voters = voters(&view.cluster);
        voters.retain(|name, _| self.state.etcd.members.contains(name));
        voters
    }

    /// Finds a member, other than the node unless it is the only one, whose view of the cluster counts.
    fn voice(&self, view: &View) -> Result<Voice, Failure> {
        let members = self.voters(view);
        let askable: Vec<NodeName> = members.keys().filter(|node| self.locks.keeper.has(node)).cloned().collect();
        let away = Some(&self.request.node).filter(|_| members.len() > 1);
        find_voice(&view.connector, &askable, &members, away).map_err(|error| {
            let message = format!("no other member of etcd can be queried: {error}");
            Failure::new(Kind::Failed, message).maybe_hint(error.hint())
        })
    }

    fn refuse_without_quorum(&self, voice: &Voice) -> Result<(), Failure> {
        match voice.health.objection(&self.request.node) {
            None => Ok(()),
            Some(objection) => Err(self.refused(&objection)),
        }
    }

    fn refused(&self, objection: &str) -> Failure {
        Failure::new(Kind::Refused, format!("{} cannot be moved now: {objection}", self.request.node)).hint(
            "`machinist status` shows the members; repair them first, one that is lost by `machinist node replace`",
        )
    }

    fn failed(&self, error: &StepError) -> Failure {
        let failure = Failure::from_error(Kind::Failed, error).maybe_hint(error.hint());
        failure.hint("the same command continues; with the old address in machines.nix it goes back")
    }

    fn token(&self, node: &NodeName) -> Result<Token, Failure> {
        self.locks.token(node).map_err(|error| self.failed(&error))
    }

    /// Issues the certificates for the addresses of the step.
    fn certificates(&self, view: &View) -> Result<(), Failure> {
        certs::issue::update(
            self.context,
            &view.cluster,
            &Policy::default(),
            &self.context.project.certs(),
            certs::hosts::Signing::Existing,
        )
        .map(drop)
    }

    /// Checks that the new address works: for the other members, and for this computer.
    fn verify(&self, view: &View, moving: &Move) -> Result<(), Failure> {
        connect::at_second(self.context, &view.cluster, &moving.node).map_err(|error| {
            let message = format!("{} does not answer at {}: {error}", moving.node, moving.to);
            Failure::new(Kind::Failed, message).hint("does its network route that address to it?")
        })?;
        if !self.is_member() {
            return Ok(());
        }
        for other in self.voters(view).keys().filter(|other| **other != moving.node) {
            let answered = view.connector.connect(other).map_err(StepError::from);
            answered.and_then(|remote| readdress::answers(&*remote, moving.to)).map_err(|error| {
                let message = format!("{other} does not reach {} at {}: {error}", moving.node, moving.to);
                let failure = Failure::new(Kind::Failed, message).hint("does its network route that address to it?");
                failure.hint("the same command tries again; with the old address in machines.nix it goes back")
            })?;
        }
        Ok(())
    }

    /// Sets the peer URLs of the node, if it is a member, and waits until all members are healthy with them.
    fn set_peers(&self, view: &View, addresses: &[IpAddr]) -> Result<(), Failure> {
        if !self.is_member() {
            return Ok(());
        }
        self.context.stop_here()?;
        let voice = self.voice(view)?;
        self.refuse_without_quorum(&voice)?;
        let node = &self.request.node;
        let id = voice.health.members.get(node).and_then(|member| member.id);
        let id = id.ok_or_else(|| self.refused(&format!("etcd has no member at {}", view.cluster.nodes[node].ip)))?;
        readdress::update_peers(&voice, &self.token(&voice.node)?, id, addresses)
            .map_err(|error| self.failed(&error))?;
        let members = self.voters(view);
        let demand = Demand { whole: true, writable: false };
        let interrupt = &self.context.interrupt;
        let gate = EtcdGate { members: &members, node, demand, bound: SETTLING, interrupt };
        gate.wait(&*voice.remote).map_err(|error| self.failed(&error))?;
        let urls: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        self.say(&format!("the other members reach it at {}", urls.join(" and ")));
        Ok(())
    }

    fn addresses(&self, view: &View, moving: &Move) -> readdress::Addresses {
        let others = self.voters(view).into_iter().filter(|(name, _)| *name != moving.node);
        let peers = others.map(|(_, ip)| ip).collect();
        readdress::Addresses { old: moving.from, new: moving.to, peers }
    }

    /// Refuses to go on while the machine sends from the old address: its certificates would not be valid for it.
    fn verify_source(&self, view: &View, moving: &Move) -> Result<(), Failure> {
        let remote = view.connector.connect(&moving.node).map_err(|error| self.failed(&error.into()))?;
        let token = self.token(&moving.node)?;
        readdress::verify_source(&*remote, &token, &self.addresses(view, moving)).map_err(|error| {
            self.failed(&error).hint(format!("where its network configures it: give it {} there", moving.to))
        })
    }

    /// Removes the old address from the machine: nothing listens there any more.
    fn retire(&self, view: &View, moving: &Move) -> Result<(), Failure> {
        let node = &view.cluster.nodes[&moving.node];
        if node.provider == Provider::Sandbox {
            let state = default_state_dir(&view.cluster.name);
            sandbox::readdress(&state, moving.node.as_str(), moving.to).map_err(|error| sandbox_failed(&error))?;
        }
        let remote = view.connector.connect(&moving.node).map_err(|error| self.failed(&error.into()))?;
        let token = self.token(&moving.node)?;
        let is_removed = readdress::retire(&*remote, &token, &self.addresses(view, moving));
        if !is_removed.map_err(|error| self.failed(&error))? {
            let text = format!("its network still gives it {}: nothing of the cluster uses that any more", moving.from);
            self.say(&text);
        }
        Ok(())
    }

    /// Deploys the step's facts to all nodes. Returns the report if a node failed.
    fn pass(&self, view: &View) -> Result<Option<Box<Report>>, Failure> {
        let run = Run {
            context: self.context,
            build_on: &BuildOn::Local,
            building: &Building::default(),
            options: &self.request.options,
            cluster: &view.cluster,
            nodes: view.cluster.deployable().map(|node| node.name.clone()).collect(),
            voters: self.voters(view),
            connector: Connector::clone(&view.connector),
            locks: &self.locks,
        };
        let left = run.step(&self.state, self.begun)?;
        if left.is_some() {
            self.say("has not arrived: the same command continues; with the old address in machines.nix it goes back");
        }
        Ok(left)
    }

    /// Removes the pin of the host key at the old address.
    fn forget(&self, cluster: &Cluster, moving: &Move) -> Result<(), Failure> {
        let is_here = cluster.nodes[&moving.node].ssh.host == moving.to.to_string();
        if is_here { unpin(self.context, cluster, moving) } else { Ok(()) }
    }
}

/// Removes the pins of the host key at those addresses of a move that no node has any more.
pub(in crate::node) fn unpin(context: &Context, cluster: &Cluster, moving: &Move) -> Result<(), Failure> {
    let port = cluster.nodes.get(&moving.node).and_then(|node| node.ssh.port).unwrap_or(22);
    let known_hosts = KnownHosts::load(&context.project.directory.join(connect::KNOWN_HOSTS)).input()?;
    for address in [moving.from, moving.to].map(|ip| ip.to_string()) {
        if cluster.nodes.values().all(|node| node.ssh.host != address) {
            known_hosts.forget(&host_pattern(&address, port)).failed()?;
        }
    }
    Ok(())
}

/// Pins the host key of a node at its other address, too: it is the same machine.
fn pin(context: &Context, declared: &Cluster, moving: &Move) -> Result<(), Failure> {
    let ssh = &declared.nodes[&moving.node].ssh;
    if ssh.host != declared.nodes[&moving.node].ip.to_string() {
        return Ok(());
    }
    let known_hosts = KnownHosts::load(&context.project.directory.join(connect::KNOWN_HOSTS)).input()?;
    let pattern = |ip: IpAddr| host_pattern(&ip.to_string(), ssh.port.unwrap_or(22));
    let in_use = moving.address();
    let other = if in_use == moving.from { moving.to } else { moving.from };
    if let [key] = &*known_hosts.keys(&pattern(in_use)) {
        known_hosts.pin(&pattern(other), key.clone()).failed()?;
    }
    Ok(())
}
