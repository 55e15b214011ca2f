//! Replacement of a node whose machine is gone by a new machine: at the provider, or another one at the same address.
//!
//! The step that is under way is recorded in `state/cluster.json`, and each one can be repeated: after an interruption the
//! same request continues. Consent is asked once, before the first step, and again if the new server becomes another one.

mod objections;
mod steps;

use std::collections::BTreeSet;

use machinist_model::{Cluster, Node, NodeName, Provider, RecordedState, Replacement, replacing::Step};
use machinist_providers::observed::Price;
use machinist_rollout::deploy::Report;
use serde::Serialize;

use self::steps::Steps;
use super::{
    membership::{self, Changed},
    without_vote::What,
};
use crate::{
    connect,
    consent::Question,
    context::Context,
    failure::{Failure, Kind},
    install,
    provision::{self, Former, Succession},
    rollout::options::Options,
};

/// Request to replace a node.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the node.
    pub node: NodeName,
    /// The machine is replaced, too. Otherwise only if its server is gone at the provider.
    pub new_machine: bool,
    /// Type of the new server, if it is not that of machines.nix.
    pub server_type: Option<String>,
    /// Location of the new server, if it is not that of machines.nix.
    pub location: Option<String>,
    /// How the new machine is installed; its name is not used.
    pub installation: install::Request,
    /// Continues without taking a snapshot of etcd's data.
    pub no_snapshot: bool,
    /// Rollout options for the systems.
    pub options: Options,
}

/// The steps that are left.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Name of the node.
    pub node: NodeName,
    /// True if the machine stays: only the member and its data are replaced.
    pub same_machine: bool,
    /// The steps, the next one first.
    pub steps: Vec<Planned>,
    /// Price of the new server, without tax.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Currency of the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// Step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Its name.
    pub step: &'static str,
    /// Its changes, in their order.
    pub changes: Vec<String>,
}

/// Outcome of a replacement.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// The same machine joined again, or did not.
    SameMachine(Changed),
    /// The new machine is part of the cluster.
    NewMachine {
        /// The members of etcd.
        members: BTreeSet<NodeName>,
        /// Settings of the new server that machines.nix does not have yet, such as `serverType = "cx33"`.
        unwritten: Vec<String>,
    },
    /// A rollout within a step failed: the same request continues.
    NotDone {
        /// Outcome of each node.
        report: Box<Report>,
    },
}

/// Returns the steps that [`run`] would take. Changes nothing.
///
/// # Errors
/// The node cannot be replaced now.
pub fn plan(context: &Context, request: &Request) -> Result<Plan, Failure> {
    let begin = Begin::of(context, request)?;
    let Some(replacing) = &begin.replacing else {
        let node = &request.node;
        let changes = vec![
            format!("a snapshot of etcd; {node} leaves etcd, and the data on it is moved aside"),
            format!("{node} is deployed, joins as a learner and is promoted"),
        ];
        let steps = vec![Planned { step: "rejoin", changes }];
        return Ok(Plan { node: node.clone(), same_machine: true, steps, price: None, currency: None });
    };
    let succession = begin.check(context, request, replacing)?;
    let steps = Step::ALL.into_iter().filter(|step| *step >= replacing.step);
    let steps = steps.map(|step| Planned { step: step.name(), changes: begin.changes(step, succession.as_ref()) });
    let steps = steps.filter(|planned| !planned.changes.is_empty()).collect();
    let new = succession.as_ref().and_then(|succession| Some(succession.provision.plans().next()?.1));
    let price = new.map(|plan| plan.after);
    let currency = new.map(|plan| plan.currency.clone());
    Ok(Plan { node: request.node.clone(), same_machine: false, steps, price, currency })
}

/// Replaces the node.
///
/// # Errors
/// It was refused before the first step, or interrupted in one: the same request continues.
pub fn run(context: &Context, request: &Request) -> Result<Replaced, Failure> {
    let begin = Begin::of(context, request)?;
    let Some(replacing) = begin.replacing.clone() else { return rejoin(context, request) };
    let recorded = begin.state.replacing.as_ref();
    let is_agreed = recorded.is_some_and(|recorded| {
        recorded.step <= replacing.step
            && recorded.server_type == replacing.server_type
            && recorded.location == replacing.location
    });
    if !is_agreed {
        let succession = begin.check(context, request, &replacing)?;
        install::require_program()?;
        // A prompt for a passphrase must not come in the middle.
        context.keyring.unlock()?;
        context.consent.ask(&begin.question(context, succession.as_ref()))?;
        let state = RecordedState { replacing: Some(replacing.clone()), ..context.project.state()? };
        context.project.record(&state)?;
    }
    // Consent covers all steps.
    let agreed = Context { consent: crate::consent::Consent::given(), ..context.clone() };
    Steps { context: &agreed, request, is_member: begin.is_member() }.run(replacing)
}

/// Members of etcd, certificates and every node name the address of a machine.
fn other_address(node: &NodeName) -> Failure {
    let message = format!("a new droplet of {node} would have another address, which DigitalOcean chooses");
    Failure::new(Kind::Refused, message).hint(instead_of_a_droplet(node))
}

fn instead_of_a_droplet(node: &NodeName) -> String {
    format!(
        "`machinist node remove {node}` with it out of machines.nix, then `machinist destroy {node}`; then put it back, and \
         `machinist provision {node}`, `install {node}` and `node join {node}`"
    )
}

/// Lets the same machine join again.
fn rejoin(context: &Context, request: &Request) -> Result<Replaced, Failure> {
    let Request { node, no_snapshot, options, .. } = request;
    let change = membership::Request {
        what: What::Replace,
        node: node.clone(),
        no_snapshot: *no_snapshot,
        options: options.clone(),
    };
    membership::run(context, &change).map(Replaced::SameMachine).map_err(|failure| {
        let is_lost = failure.kind != Kind::Input && context.project.load().is_ok_and(|loaded| {
            let connector = connect::connector(context, &loaded.cluster, options.accept_host_key);
            connector.is_ok_and(|connector| connector.connect(node).is_err())
        });
        if !is_lost {
            return failure;
        }
        let cluster = context.project.load().map(|loaded| loaded.cluster);
        if cluster.is_ok_and(|cluster| cluster.nodes.get(node).is_some_and(|node| node.digitalocean.is_some())) {
            return failure.hint(format!("if its droplet is gone: {}", instead_of_a_droplet(node)));
        }
        failure.hint(format!(
            "if its machine is gone: start another one at its address, then `machinist node replace {node} --new-machine` \
             (`--plan` shows the steps)"
        ))
    })
}

/// Where a request begins.
struct Begin {
    cluster: Cluster,
    node: Node,
    state: RecordedState,
    /// The first step; `None` if the machine stays.
    replacing: Option<Replacement>,
}

impl Begin {
    fn of(context: &Context, request: &Request) -> Result<Self, Failure> {
        let state = context.project.state()?;
        let cluster = context.project.load()?.cluster;
        let name = &request.node;
        let node = cluster.deployable().find(|node| node.name == *name).cloned();
        if let Some(replacing) = &state.replacing
            && (replacing.node != *name || node.is_none())
        {
            return Err(Failure::new(Kind::Refused, replacing).hint(replacing.continuation()));
        }
        let node = node.ok_or_else(|| {
            Failure::new(Kind::Input, format!("machines.nix has no node {name} that machinist deploys"))
        })?;
        let mut begin = Self { cluster, node, state, replacing: None };
        if (request.server_type.is_some() || request.location.is_some()) && begin.node.hetzner.is_none() {
            return Err(Failure::new(
                Kind::Input,
                format!("{name} is no server of a cloud: it has no type and location"),
            ));
        }
        begin.replacing = begin.first_step(context, request)?;
        if begin.replacing.is_some() && begin.node.digitalocean.is_some() {
            return Err(other_address(name));
        }
        Ok(begin)
    }

    fn is_member(&self) -> bool {
        self.cluster.etcd_members().any(|member| member.name == self.node.name)
    }

    /// Decides whether the machine is replaced, and where that begins or continues.
    fn first_step(&self, context: &Context, request: &Request) -> Result<Option<Replacement>, Failure> {
        let node = &self.node.name;
        let chosen = |step: Step, before: Option<&Replacement>| {
            let or = |given: &Option<String>, recorded: fn(&Replacement) -> &Option<String>| {
                given.clone().or_else(|| before.and_then(|before| recorded(before).clone()))
            };
            Replacement {
                node: node.clone(),
                step,
                server_type: or(&request.server_type, |before| &before.server_type),
                location: or(&request.location, |before| &before.location),
            }
        };
        if let Some(before) = &self.state.replacing {
            let step = if self.is_lost_again(context, before)? { Step::Leave } else { before.step };
            let is_other = request.server_type.as_ref().is_some_and(|given| before.server_type.as_ref() != Some(given))
                || request.location.as_ref().is_some_and(|given| before.location.as_ref() != Some(given));
            if is_other && step > Step::Create {
                let failure = Failure::new(Kind::Refused, format!("the new server of {node} exists already"));
                return Err(failure.hint(format!(
                    "to have another one, delete it: `machinist destroy {node}`; then the same command"
                )));
            }
            return Ok(Some(chosen(step, Some(before))));
        }
        let is_chosen = request.new_machine || request.server_type.is_some() || request.location.is_some();
        if is_chosen || self.is_server_gone(context, request)? { Ok(Some(chosen(Step::Leave, None))) } else { Ok(None) }
    }

    /// Returns true if the new server is gone as well, or was destroyed.
    fn is_lost_again(&self, context: &Context, before: &Replacement) -> Result<bool, Failure> {
        if self.node.hetzner.is_none() || before.step < Step::Create {
            return Ok(false);
        }
        let former = provision::former(context, &self.node.name)?;
        Ok(match former {
            Former::Gone { .. } => true,
            Former::None => before.step > Step::Create,
            Former::There { .. } => false,
        })
    }

    /// Returns true if the machine is a server that the provider has no more. One that answers is not asked for there.
    fn is_server_gone(&self, context: &Context, request: &Request) -> Result<bool, Failure> {
        if self.node.hetzner.is_none() {
            return Ok(false);
        }
        let name = &self.node.name;
        let connector = connect::connector(context, &self.cluster, request.options.accept_host_key)?;
        let Err(error) = connector.connect(name) else { return Ok(false) };
        match provision::former(context, name)? {
            Former::None | Former::Gone { .. } => Ok(true),
            Former::There { server } => {
                let failure = Failure::on(name, Kind::Failed, &error).maybe_hint(error.hint());
                Err(failure.hint(format!(
                    "its server {} ({}) exists, {}: look at its console; `machinist node replace {name} --new-machine` \
                     deletes it and creates another one (`--plan` shows the steps)",
                    server.name, server.id.0, server.state
                )))
            }
        }
    }

    /// Checks everything that can be known before the first step. Returns the new server, if there will be one.
    fn check(
        &self,
        context: &Context,
        request: &Request,
        replacing: &Replacement,
    ) -> Result<Option<Succession>, Failure> {
        objections::machine(&self.cluster, &self.node)?;
        if self.is_member() && replacing.step == Step::Leave {
            objections::quorum(context, &self.cluster, &self.state, &request.node, &request.options)?;
        }
        if self.node.hetzner.is_none() || replacing.step > Step::Create {
            return Ok(None);
        }
        provision::prepare_successor(context, replacing).map(Some)
    }

    /// Returns what a step changes; nothing if the node does not need it.
    fn changes(&self, step: Step, succession: Option<&Succession>) -> Vec<String> {
        let name = &self.node.name;
        let member = self.is_member();
        let pods = self.cluster.runs_kubernetes(&self.node);
        let disk = self.node.disk.as_deref().unwrap_or_default();
        let some = |condition: bool, text: String| condition.then_some(text);
        let changes = match step {
            Step::Leave => vec![
                some(member, "a snapshot of etcd, encrypted to the operators".to_owned()),
                some(member, format!("{name} leaves etcd; the other members stay a quorum")),
            ],
            Step::Discard => vec![
                succession.and_then(|succession| words_of_former(&succession.former)),
                Some(format!("new certificates of {name}; its host key ends")),
                some(pods, format!("the Node object of {name} is deleted, and its pods start on other nodes")),
            ],
            Step::Create => succession.map(|succession| vec![Some(words_of_new(succession))]).unwrap_or_default(),
            Step::Install => {
                vec![Some(format!(
                    "NixOS on it, with a new host key that is pinned (erases {disk} of the new machine)"
                ))]
            }
            Step::Join => vec![
                Some(format!("a deploy of {name}")),
                some(member, "it joins etcd as a learner, and votes when it has caught up".to_owned()),
            ],
        };
        changes.into_iter().flatten().collect()
    }

    fn question(&self, context: &Context, succession: Option<&Succession>) -> Question {
        let name = &self.node.name;
        let connector = connect::connector(context, &self.cluster, None);
        let answers = connector.is_ok_and(|connector| connector.connect(name).is_ok());
        let alive = if answers { " (the machine answers)" } else { "" };
        let parts: Vec<String> = match succession {
            Some(succession) => {
                words_of_former(&succession.former).into_iter().chain([words_of_new(succession)]).collect()
            }
            None => {
                let (host, disk) = (&self.node.ssh.host, self.node.disk.as_deref().unwrap_or_default());
                vec![format!("the machine at {host} loses everything on {disk}")]
            }
        };
        let what = parts.join("; ");
        Question {
            text: format!("{name} gets a new machine{alive}: {what}. Type its name to go on:"),
            accepted: vec![name.to_string()],
            consequence: format!("{name} would get a new machine{alive}: {what}"),
        }
    }
}

fn words_of_former(former: &Former) -> Option<String> {
    match former {
        Former::None => None,
        Former::Gone { id } => Some(format!("the server {id}, which the provider has no more, is forgotten")),
        Former::There { server } => Some(format!(
            "the server {} ({}, {} {}) and everything on it are deleted",
            server.name, server.id.0, server.server_type, server.location
        )),
    }
}

fn words_of_new(succession: &Succession) -> String {
    let Some((_, plan)) = succession.provision.plans().next() else { return String::new() };
    let servers = plan.servers.iter().map(|change| {
        let server = &change.server;
        let verb = if change.found.is_some() { "continued with" } else { "created" };
        format!("the server {} is {verb}: {} in {}", server.name, server.server_type, server.location)
    });
    let shared = plan.shared.iter().map(|change| format!("{} {} ({}d)", change.kind, change.name, change.verb));
    let what: Vec<String> = servers.chain(shared).collect();
    let currency = &plan.currency;
    format!(
        "{}, {:.4} {currency} an hour, at most {:.2} a month",
        what.join(", "),
        plan.after.hourly,
        plan.after.monthly
    )
}

/// Returns true if machinist does not install the machine.
const fn is_sandbox(node: &Node) -> bool {
    matches!(node.provider, Provider::Sandbox)
}
