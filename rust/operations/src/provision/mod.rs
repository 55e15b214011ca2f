//! Servers of clouds: what would be created at which price, creation, and destruction.

pub(crate) mod cloud;
mod destroy;
mod first_boot;
mod links;
mod record;
mod successor;

use std::collections::BTreeSet;

use machinist_model::{Cluster, NodeName, Provider};
use machinist_providers::{
    Any, Cloud as _, CloudError,
    any::PROVIDERS,
    desired::{self, Desired},
    observed::{Id, Observed},
    plan::{self, Plan, Problem, Step, Wanted},
    provision::{self, End, Happening},
};
use serde::Serialize;

pub use self::destroy::{Destroy, DestroyRequest, Destroyed, Doomed, Undeleted, discard, prepare as prepare_destroy};
pub use self::successor::{Former, Succession, former, prepare as prepare_successor};
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
    parts: Vec<Part>,
    requests: u64,
}

/// What would be created at one provider.
struct Part {
    cloud: Any,
    desired: Desired,
    plan: Plan,
}

/// End of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// Servers that are complete, sorted by node.
    pub servers: Vec<Ready>,
    /// Servers that are not.
    pub failed: Vec<Incomplete>,
    /// Requests sent to the providers.
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
    if let Some(replacing) = &context.project.state()?.replacing {
        let cluster = context.project.load_planned()?.cluster;
        let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
        // Its new server would be deleted as the old one.
        if connect::select(&cluster, patterns)?.contains(&replacing.node) {
            return Err(Failure::new(Kind::Refused, replacing).hint(replacing.continuation()));
        }
    }
    prepare_with(context, request, |_| Ok(()))
}

/// What is compared, before it is.
struct Compared<'a> {
    desired: &'a mut Desired,
    wanted: &'a mut Wanted,
    observed: &'a mut Observed,
}

fn prepare_with(
    context: &Context,
    request: &Request,
    mut adjust: impl FnMut(Compared<'_>) -> Result<(), Failure>,
) -> Result<Provision, Failure> {
    let cluster = context.project.load_planned()?.cluster;
    let state = context.project.state()?;
    if state.destroying {
        return Err(Failure::new(Kind::Refused, format!("{} is being destroyed", cluster.name))
            .hint("`machinist destroy` finishes that; then create it again"));
    }
    context.project.refuse_conflicts(&cluster, machinist_model::moving::Command::Install)?;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let chosen: BTreeSet<NodeName> = connect::select(&cluster, patterns)?.into_iter().collect();
    let at = |provider: Provider| Some((provider, desired::at(&cluster, provider)?));
    let all: Vec<(Provider, Desired)> = PROVIDERS.into_iter().filter_map(at).collect();
    if all.is_empty() {
        return Err(Failure::new(Kind::Input, "machines.nix describes no server of a cloud").hint(
            "machines.cp1 = { provider = \"hetzner\"; hetzner = { serverType = \"cx23\"; location = \"nbg1\"; }; ... };",
        ));
    }
    let recorded: std::collections::BTreeMap<NodeName, Id> =
        state.servers.into_iter().map(|(node, server)| (node, Id(server.id))).collect();
    let mut parts = Vec::new();
    let mut problems = Vec::new();
    for (provider, mut desired) in all {
        let is_here = |node: &&NodeName| desired.servers.iter().any(|server| server.node == **node);
        let nodes: BTreeSet<NodeName> = chosen.iter().filter(is_here).cloned().collect();
        if nodes.is_empty() {
            continue;
        }
        let mut wanted = Wanted { nodes, recorded: recorded.clone() };
        let cloud = cloud::client(context, provider)?;
        let (mut observed, catalogue) =
            runtime(context, async { tokio::try_join!(cloud.observe(&desired.cluster), cloud.catalogue()) })?;
        adjust(Compared { desired: &mut desired, wanted: &mut wanted, observed: &mut observed })?;
        match plan::plan(&desired, &wanted, &observed, &catalogue) {
            Ok(plan) => parts.push(Part { cloud, desired, plan }),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(refusal(&problems));
    }
    if parts.is_empty() {
        return Err(Failure::new(Kind::Input, "none of these machines is a server of a cloud")
            .hint("`machinist provision` creates machines with `hetzner` or `digitalocean` in machines.nix"));
    }
    let requests = parts.iter().map(|part| part.cloud.requests()).sum();
    Ok(Provision { context: context.clone(), cluster, parts, requests })
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
    /// Returns what would be created at each provider, with its price.
    pub fn plans(&self) -> impl Iterator<Item = (&'static str, &Plan)> {
        self.parts.iter().map(|part| (part.cloud.name(), &part.plan))
    }

    /// Returns the number of requests that the comparison took.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Creates what is missing, after consent to its price, and waits until each server answers with its own host key.
    /// Killed at any moment, the next run continues with what exists. What fails at one provider stops no other.
    ///
    /// # Errors
    /// Consent was refused, or the only provider refused something that all servers need.
    pub fn run(&self) -> Result<Provisioned, Failure> {
        self.confirm()?;
        let keys = Keys::new(&self.context, &self.cluster)?;
        let created = |change: &&plan::ServerChange| change.steps.contains(&Step::Create);
        let servers = self.parts.iter().flat_map(|part| &part.plan.servers);
        // Before the first request, so that a prompt for a passphrase does not come in the middle.
        keys.renew(servers.filter(created).map(|change| &change.server.node))?;
        let recorder = Recorder::new(&self.context, &self.cluster)?;
        let results = runtime(&self.context, async {
            Ok(futures_util::future::join_all(self.parts.iter().map(|part| self.create(part, &keys))).await)
        })?;
        let alone = results.len() == 1;
        let mut ends = Vec::new();
        for (part, result) in self.parts.iter().zip(results) {
            match result {
                Ok(found) => ends.extend(found),
                Err(error) if alone => return Err(failure(&error)),
                Err(error) => ends.extend(not_begun(part, error)),
            }
        }
        self.record(&recorder, &keys, ends)
    }

    async fn create(&self, part: &Part, keys: &Keys) -> Result<Vec<End>, CloudError> {
        let events = self.context.events.clone();
        let report = move |happening: Happening| tell(&events, happening);
        let boot = |node: &NodeName| keys.boot(node);
        let Part { cloud, desired, plan } = part;
        let observed = provision::shared(cloud, desired, plan, &report).await?;
        Ok(provision::servers(cloud, desired, plan, &observed, &boot, &report).await)
    }

    /// Asks for consent to what costs, and to changes of what exists: someone may have made them for a reason.
    fn confirm(&self) -> Result<(), Failure> {
        let several = self.parts.len() > 1;
        let words = |part: &Part| {
            let place = if several { format!("at {}, ", part.cloud.name()) } else { String::new() };
            changes(&part.plan).into_iter().map(move |change| format!("{place}{change}")).collect::<Vec<_>>()
        };
        let changes: Vec<String> = self.parts.iter().flat_map(words).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let text = format!("{}?", changes.join("; "));
        self.context.consent.ask(&Question::yes_or_no(&text, format!("this would {}", changes.join("; "))))
    }

    /// Records the servers, pins their first host keys, and waits for them.
    fn record(&self, recorder: &Recorder, keys: &Keys, ends: Vec<End>) -> Result<Provisioned, Failure> {
        let mut ready = Vec::new();
        let mut failed = Vec::new();
        let servers = self.parts.iter().flat_map(|part| &part.plan.servers);
        let complete = servers.filter(|change| change.steps.is_empty());
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
            let pinned = recorder.pin(&node, &server, address);
            if let Err(failure) = pinned.and_then(|()| recorder.record(&node, &server, address)) {
                failed.push(Incomplete { node, failure });
                continue;
            }
            let installed = keys.public(&node)?.is_none();
            ready.push(Ready { node, id: server.id.0, address, answers: false, installed });
        }
        recorder.await_answers(&mut ready)?;
        Ok(Provisioned { servers: ready, failed, requests: self.parts.iter().map(|part| part.cloud.requests()).sum() })
    }
}

/// Returns what costs or changes something that exists.
fn changes(plan: &Plan) -> Vec<String> {
    let Plan { before, after, currency, .. } = plan;
    let new = plan.servers.iter().filter(|change| change.steps.contains(&Step::Create)).count();
    let cost = after.monthly - before.monthly;
    let mut changes = match new {
        0 => Vec::new(),
        1 => vec![format!("create 1 server, {cost:.2} {currency} a month more")],
        _ => vec![format!("create {new} servers, {cost:.2} {currency} a month more")],
    };
    let updates = plan.shared.iter().filter(|change| change.verb == "update");
    changes.extend(updates.map(|change| format!("change the {} {} to {}", change.kind, change.name, change.detail)));
    let off = plan.servers.iter().filter(|change| change.found.is_some());
    let off = off.filter(|change| change.steps.contains(&Step::PowerOn));
    changes.extend(off.map(|change| format!("switch on {}", change.server.name)));
    changes
}

/// Returns the ends of servers at a provider that refused what they share: the first one has the reason.
fn not_begun(part: &Part, error: CloudError) -> Vec<End> {
    let mut error = Some(error);
    let begun = part.plan.servers.iter().filter(|change| !change.steps.is_empty());
    let ends = begun.map(|change| End {
        node: change.server.node.clone(),
        result: Err(error.take().unwrap_or(CloudError::NotBegun)),
    });
    ends.collect()
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
fn observe(context: &Context, cloud: &Any, cluster: &str) -> Result<Observed, Failure> {
    runtime(context, cloud.observe(cluster))
}
