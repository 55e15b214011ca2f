//! Records of a public DNS zone: what would change, the changes, and the records as a zone file.

use machinist_model::{Cluster, Dns, DnsProvider, SelectError, SelectErrorKind};
use machinist_providers::{
    CloudError, digitalocean,
    dns::{
        Zone as _, apply,
        desired::{self, Desired},
        digitalocean::Domains,
        plan::{self, Change, Plan, Problem, Verb},
        zone::{Contents, full},
        zone_file,
    },
    hetzner::{self, Hetzner},
};
use serde::Serialize;

use crate::{
    consent::Question,
    context::Context,
    failure::{Failure, Kind},
    provision::cloud::{self, failure, runtime},
};

/// Request to publish records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Deletes all records of the cluster, and publishes none.
    pub remove: bool,
}

/// What would change. Nothing has been changed yet.
pub struct Publication {
    context: Context,
    client: Client,
    desired: Desired,
    plan: Plan,
}

/// What was changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The zone.
    pub zone: String,
    /// Changes that are made.
    pub done: Vec<Change>,
    /// Changes that are not.
    pub failed: Vec<Unpublished>,
    /// Requests sent to the provider.
    pub requests: u64,
}

/// A change that is not made, or not completely: the next run continues it.
#[derive(Debug, Serialize)]
pub struct Unpublished {
    /// The name in full.
    pub name: String,
    /// The reason.
    pub failure: Failure,
}

/// Client of the zone's provider.
enum Client {
    Hetzner(Hetzner),
    Digitalocean(Domains),
}

impl Client {
    fn new(context: &Context, provider: DnsProvider) -> Result<Self, Failure> {
        let settings = |source| cloud::settings(context, source);
        let client = match provider {
            DnsProvider::Hetzner => Hetzner::new(settings(&hetzner::SOURCE)?).map(Self::Hetzner),
            DnsProvider::Digitalocean => Domains::new(settings(&digitalocean::SOURCE)?).map(Self::Digitalocean),
        };
        client.map_err(|error| failure(&error))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Hetzner(_) => hetzner::SOURCE.provider,
            Self::Digitalocean(_) => digitalocean::SOURCE.provider,
        }
    }

    fn requests(&self) -> u64 {
        match self {
            Self::Hetzner(zone) => zone.requests(),
            Self::Digitalocean(zone) => zone.requests(),
        }
    }

    async fn contents(&self, zone: &str) -> Result<Option<Contents>, CloudError> {
        match self {
            Self::Hetzner(client) => client.contents(zone).await,
            Self::Digitalocean(client) => client.contents(zone).await,
        }
    }

    async fn apply(
        &self,
        desired: &Desired,
        plan: &Plan,
        contents: &Contents,
        done: &(dyn Fn(&Change) + Sync),
    ) -> Vec<apply::End> {
        match self {
            Self::Hetzner(client) => apply::apply(client, desired, plan, contents, done).await,
            Self::Digitalocean(client) => apply::apply(client, desired, plan, contents, done).await,
        }
    }
}

/// Compares the records of machines.nix with those of the zone.
///
/// # Errors
/// machines.nix has no zone, the zone does not exist, or a name has records of others.
pub fn prepare(context: &Context, request: Request) -> Result<Publication, Failure> {
    let cluster = context.project.load()?.cluster;
    let dns = section(&cluster)?;
    let provider = dns.provider.ok_or_else(|| {
        Failure::new(Kind::Input, "dns.provider in machines.nix is not set").hint(
            "write provider = \"hetzner\"; or \"digitalocean\"; for a zone elsewhere, `machinist dns --zone-file` prints \
             the records",
        )
    })?;
    let desired = if request.remove { Desired::none(&cluster, dns) } else { wanted(context, &cluster, dns)? };
    let client = Client::new(context, provider)?;
    let (_, plan) = look(context, &client, &desired)?;
    Ok(Publication { context: context.clone(), client, desired, plan })
}

/// Returns the records as text of a zone file.
///
/// # Errors
/// machines.nix has no zone.
pub fn zone_file(context: &Context) -> Result<String, Failure> {
    let cluster = context.project.load()?.cluster;
    let desired = wanted(context, &cluster, section(&cluster)?)?;
    Ok(zone_file::zone_file(&desired))
}

fn section(cluster: &Cluster) -> Result<&Dns, Failure> {
    cluster.dns.as_ref().ok_or_else(|| {
        Failure::new(Kind::Input, "machines.nix has no DNS zone")
            .hint("dns = { provider = \"hetzner\"; zone = \"example.com\"; };")
    })
}

fn wanted(context: &Context, cluster: &Cluster, dns: &Dns) -> Result<Desired, Failure> {
    desired::desired(cluster, dns, &context.project.state()?).map_err(|error| unresolved(&error))
}

fn unresolved(error: &SelectError) -> Failure {
    let kind = match error.kind() {
        SelectErrorKind::Input => Kind::Input,
        SelectErrorKind::Refused => Kind::Refused,
    };
    Failure::new(kind, format!("a target of dns.records in machines.nix: {error}")).maybe_hint(error.hint())
}

/// Reads the zone and compares it.
fn look(context: &Context, client: &Client, desired: &Desired) -> Result<(Contents, Plan), Failure> {
    let zone = &desired.zone;
    let contents = runtime(context, client.contents(zone))?.ok_or_else(|| {
        Failure::new(Kind::Input, format!("{} has no zone {zone} for this token", client.name())).hint(format!(
            "create the zone {zone} in the provider's console, and let the registrar of the domain name its name servers"
        ))
    })?;
    let plan = plan::plan(desired, &contents).map_err(|problems| refusal(zone, &problems))?;
    Ok((contents, plan))
}

fn refusal(zone: &str, problems: &[Problem]) -> Failure {
    let mut failure = match problems {
        [only] => Failure::new(Kind::Refused, only.message.clone()),
        many => Failure::new(Kind::Refused, format!("{} records of {zone} cannot be published", many.len())),
    };
    if problems.len() > 1 {
        failure.causes = problems.iter().map(|problem| problem.message.clone()).collect();
    }
    problems.iter().map(|problem| problem.hint.clone()).fold(failure, Failure::hint)
}

impl Publication {
    /// Returns what would change.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes the changes after consent. Killed at any moment, the next run continues with what the zone has.
    ///
    /// # Errors
    /// Consent was refused, or the zone was changed since it was compared.
    pub fn run(&self) -> Result<Published, Failure> {
        let zone = self.desired.zone.clone();
        if self.plan.is_empty() {
            return Ok(Published { zone, done: Vec::new(), failed: Vec::new(), requests: self.client.requests() });
        }
        let changes = self.changes();
        let question = format!("{changes} in {zone}?");
        self.context.consent.ask(&Question::yes_or_no(&question, format!("this would {changes} in {zone}")))?;
        // Somebody may have changed the zone while the question was open.
        let (contents, plan) = look(&self.context, &self.client, &self.desired)?;
        if plan.changes != self.plan.changes {
            return Err(Failure::new(Kind::Refused, format!("{zone} was changed since it was compared"))
                .hint("run the same command again"));
        }
        let events = self.context.events.clone();
        let tell = |change: &Change| {
            let name = full(&change.key.name, &self.desired.zone);
            events.note_all(format!("{name} {}: {}", change.key.kind, past(change.verb)));
        };
        let ends =
            runtime(&self.context, async { Ok(self.client.apply(&self.desired, &plan, &contents, &tell).await) })?;
        let mut published = Published { zone, done: Vec::new(), failed: Vec::new(), requests: self.client.requests() };
        for apply::End { change, result } in ends {
            match result {
                Ok(()) => published.done.push(change),
                Err(error) => {
                    let name = full(&change.key.name, &self.desired.zone);
                    published.failed.push(Unpublished { name, failure: failure(&error) });
                }
            }
        }
        Ok(published)
    }

    fn changes(&self) -> String {
        let verbs = [(Verb::Create, "create"), (Verb::Change, "change"), (Verb::Delete, "delete")];
        let parts: Vec<String> = verbs
            .into_iter()
            .map(|(verb, word)| (self.plan.count(verb), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{word} {count} record {}", if count == 1 { "set" } else { "sets" }))
            .collect();
        parts.join(", ")
    }
}

/// Returns a verb in the past.
#[must_use]
pub const fn past(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "created",
        Verb::Change => "changed",
        Verb::Delete => "deleted",
    }
}
