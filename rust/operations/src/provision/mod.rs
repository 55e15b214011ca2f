//! Servers of clouds: what would be created at which price, creation, and destruction.

pub(crate) mod cloud;
mod destroy;
mod first_boot;
mod record;

use std::collections::BTreeSet;

use machinist_model::{Cluster, NodeName};
use machinist_providers::{
    Cloud as _,
    desired::{self, Desired},
    hetzner::Hetzner,
    observed::{Id, Observed},
    plan::{self, Plan, Problem, Step, Wanted},
    provision::{self, End, Happening},
};
use serde::Serialize;

pub use self::destroy::{Destroy, DestroyRequest, Destroyed, Doomed, Undeleted, prepare as prepare_destroy};
use self::{
    cloud::{failure, runtime},
    first_boot::Keys,
    record::Recorder,
};
use crate::{
    connect,
    consent::Question,
    context::Context,
    event::Events,
    failure::{Failure, Kind},
};

/// Request to create servers.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
}

/// What would be created. Nothing has been changed yet.
pub struct Provision {
    context: Context,
    cluster: Cluster,
    cloud: Hetzner,
    desired: Desired,
    plan: Plan,
    requests: u64,
}

/// End of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// Servers that are complete, sorted by node.
    pub servers: Vec<Ready>,
    /// Servers that are not.
    pub failed: Vec<Incomplete>,
    /// Requests sent to the provider.
    pub requests: u64,
}

/// A server that is complete.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The node.
    pub node: NodeName,
    /// Its identifier at the provider.
    pub id: String,
    /// Its public address.
    pub address: std::net::IpAddr,
    /// False if it did not answer by SSH with its key yet.
    pub answers: bool,
    /// True if NixOS was installed on it.
    pub installed: bool,
}

/// A server that is not complete.
#[derive(Debug, Serialize)]
pub struct Incomplete {
    /// The node.
    pub node: NodeName,
    /// The reason.
    pub failure: Failure,
}

/// Compares machines.nix with what exists at the provider.
///
/// # Errors
/// machines.nix has no such machine, the provider does not answer, or a server could not be created.
pub fn prepare(context: &Context, request: &Request) -> Result<Provision, Failure> {
    let cluster = context.project.load()?.cluster;
    let state = context.project.state()?;
    if state.destroying {
        return Err(Failure::new(Kind::Refused, format!("{} is being destroyed", cluster.name))
            .hint("`machinist destroy` finishes that; then create it again"));
    }
    context.project.refuse_conflicts(&cluster, machinist_model::moving::Command::Install)?;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let mut nodes: BTreeSet<NodeName> = connect::select(&cluster, patterns)?.into_iter().collect();
    let desired = desired::at_hetzner(&cluster).ok_or_else(|| {
        Failure::new(Kind::Input, "machines.nix describes no server of a cloud").hint(
            "machines.cp1 = { provider = \"hetzner\"; hetzner = { serverType = \"cx23\"; location = \"nbg1\"; }; ... };",
        )
    })?;
    nodes.retain(|node| desired.servers.iter().any(|server| server.node == *node));
    if nodes.is_empty() {
        return Err(Failure::new(Kind::Input, "none of these machines is a server of a cloud")
            .hint("`machinist provision` creates machines with `hetzner` in machines.nix"));
    }
    let recorded = state.servers.into_iter().map(|(node, server)| (node, Id(server.id))).collect();
    let wanted = Wanted { nodes, recorded };
    let cloud = cloud::hetzner(context)?;
    let (observed, catalogue) =
        runtime(context, async { tokio::try_join!(cloud.observe(&desired.cluster), cloud.catalogue()) })?;
    let plan = plan::plan(&desired, &wanted, &observed, &catalogue).map_err(|problems| refusal(&problems))?;
    let requests = cloud.requests();
    Ok(Provision { context: context.clone(), cluster, cloud, desired, plan, requests })
}

fn refusal(problems: &[Problem]) -> Failure {
    let message = match problems {
        [only] => words(only),
        many => format!("{} servers or settings cannot be had", many.len()),
    };
    let mut failure = Failure::new(Kind::Refused, message);
    if problems.len() > 1 {
        failure.causes = problems.iter().map(words).collect();
    }
    problems.iter().filter_map(|problem| problem.hint.clone()).fold(failure, Failure::hint)
}

fn words(problem: &Problem) -> String {
    match &problem.node {
        Some(node) => format!("{node}: {}", problem.message),
        None => problem.message.clone(),
    }
}

impl Provision {
    /// Returns what would be created, with its price.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the number of requests that the comparison took.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Creates what is missing, after consent to its price, and waits until each server answers with its own host key.
    /// Killed at any moment, the next run continues with what exists.
    ///
    /// # Errors
    /// Consent was refused, or the provider refused something that all servers need.
    pub fn run(&self) -> Result<Provisioned, Failure> {
        self.confirm()?;
        let keys = Keys::new(&self.context, &self.cluster)?;
        let created = |change: &&plan::ServerChange| change.steps.contains(&Step::Create);
        // Before the first request, so that a prompt for a passphrase does not come in the middle.
        keys.renew(self.plan.servers.iter().filter(created).map(|change| &change.server.node))?;
        let recorder = Recorder::new(&self.context, &self.cluster)?;
        let events = self.context.events.clone();
        let report = move |happening: Happening| tell(&events, happening);
        let boot = |node: &NodeName| keys.boot(node);
        let ends = runtime(&self.context, async {
            let observed = provision::shared(&self.cloud, &self.desired, &self.plan, &report).await?;
            Ok(provision::servers(&self.cloud, &self.desired, &self.plan, &observed, &boot, &report).await)
        })?;
        self.record(&recorder, &keys, ends)
    }

    /// Asks for consent to what costs, and to changes of what exists: someone may have made them for a reason.
    fn confirm(&self) -> Result<(), Failure> {
        let changes = self.changes();
        if changes.is_empty() {
            return Ok(());
        }
        let text = format!("{}?", changes.join("; "));
        self.context.consent.ask(&Question::yes_or_no(&text, format!("this would {}", changes.join("; "))))
    }

    fn changes(&self) -> Vec<String> {
        let Plan { before, after, currency, .. } = &self.plan;
        let new = self.plan.servers.iter().filter(|change| change.steps.contains(&Step::Create)).count();
        let cost = after.monthly - before.monthly;
        let mut changes = match new {
            0 => Vec::new(),
            1 => vec![format!("create 1 server, {cost:.2} {currency} a month more")],
            _ => vec![format!("create {new} servers, {cost:.2} {currency} a month more")],
        };
        let updates = self.plan.shared.iter().filter(|change| change.verb == "update");
        changes
            .extend(updates.map(|change| format!("change the {} {} to {}", change.kind, change.name, change.detail)));
        let off = self.plan.servers.iter().filter(|change| change.found.is_some());
        let off = off.filter(|change| change.steps.contains(&Step::PowerOn));
        changes.extend(off.map(|change| format!("switch on {}", change.server.name)));
        changes
    }

    /// Records the servers, pins their first host keys, and waits for them.
    fn record(&self, recorder: &Recorder, keys: &Keys, ends: Vec<End>) -> Result<Provisioned, Failure> {
        let mut ready = Vec::new();
        let mut failed = Vec::new();
        let complete = self.plan.servers.iter().filter(|change| change.steps.is_empty());
        let complete = complete.filter_map(|change| Some((change.server.node.clone(), change.found.clone()?)));
        let mut found: Vec<_> = complete.collect();
        for End { node, result } in ends {
            match result {
                Ok(server) => found.push((node, server)),
                Err(error) => failed.push(Incomplete { failure: failure(&error), node }),
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        for (node, server) in found {
            let Some(address) = server.public() else {
                let message = format!("{node}: its server has no public address");
                failed.push(Incomplete { failure: Failure::new(Kind::Failed, message), node });
                continue;
            };
            match recorder.pin(&node, &server, address) {
                Ok(()) => recorder.record(&node, &server, address)?,
                Err(failure) => {
                    failed.push(Incomplete { node, failure });
                    continue;
                }
            }
            let installed = keys.public(&node)?.is_none();
            ready.push(Ready { node, id: server.id.0, address, answers: false, installed });
        }
        recorder.await_answers(&mut ready)?;
        Ok(Provisioned { servers: ready, failed, requests: self.cloud.requests() })
    }
}

fn tell(events: &Events, happening: Happening) {
    match happening {
        Happening::Shared { verb, what } => events.note_all(format!("{what}: {verb}d")),
        Happening::Step { node, step } => events.note(&node, step_words(step)),
        Happening::Ready { node } => events.note(&node, "exists"),
    }
}

const fn step_words(step: Step) -> &'static str {
    match step {
        Step::Create => "creating the server",
        Step::Attach => "attaching it to the private network",
        Step::Protect => "putting it behind its firewall",
        Step::PowerOn => "switching it on",
    }
}

/// Returns what the cluster has at the provider.
fn observe(context: &Context, cloud: &Hetzner, cluster: &str) -> Result<Observed, Failure> {
    runtime(context, cloud.observe(cluster))
}
