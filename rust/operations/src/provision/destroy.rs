//! Destruction of servers: of single ones that hold nothing of the running cluster, or of the whole cluster.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use machinist_model::{Cluster, NodeName, Provider, RecordedState};
use machinist_pki::host_key;
use machinist_providers::{
    Any, Cloud as _,
    any::PROVIDERS,
    cloud::Removed,
    desired,
    observed::{FoundServer, Leftover, Observed},
};
use machinist_remote::{KnownHosts, host_pattern};
use serde::Serialize;

use super::{
    cloud::{self, failure, runtime},
    observe,
};
use crate::{
    connect::KNOWN_HOSTS,
    consent::Question,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Request to destroy servers.
#[derive(Clone, Debug)]
pub struct DestroyRequest {
    /// Names of nodes, those of servers that machines.nix has no more among them. Empty: all of the cluster.
    pub targets: Vec<String>,
    /// The cluster's name, as consent in advance.
    pub confirmed: Option<String>,
}

/// What would be destroyed. Nothing has been changed yet.
pub struct Destroy {
    context: Context,
    cluster: Cluster,
    parts: Vec<Part>,
    servers: Vec<Doomed>,
    whole: bool,
    confirmed: Option<String>,
}

/// What exists at one provider.
struct Part {
    provider: Provider,
    cloud: Any,
    observed: Observed,
}

/// A node whose server ends.
#[derive(Clone, Debug)]
pub struct Doomed {
    /// The name of the node; that of the server if no label tells the node.
    pub node: String,
    /// The server; `None` if it is recorded, and the provider has it no more.
    pub server: Option<FoundServer>,
    /// Its provider.
    pub provider: Provider,
}

/// What was destroyed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destroyed {
    /// Nodes whose servers are gone.
    pub servers: Vec<String>,
    /// What they shared, and is gone.
    pub shared: Vec<String>,
    /// What they shared, and servers of others use.
    pub kept: Vec<String>,
    /// What remains, and may cost.
    pub leftovers: Vec<Leftover>,
    /// Servers that could not be deleted.
    pub failed: Vec<Undeleted>,
}

/// A server that could not be deleted.
#[derive(Debug, Serialize)]
pub struct Undeleted {
    /// The node.
    pub node: String,
    /// The reason.
    pub failure: Failure,
}

/// Finds the servers, and refuses those that the running cluster needs.
///
/// # Errors
/// There is no such server, a node still belongs to the running cluster, or a server is not this directory's.
pub fn prepare(context: &Context, request: &DestroyRequest) -> Result<Destroy, Failure> {
    let cluster = context.project.load_planned()?.cluster;
    let state = context.project.state()?;
    let mut parts = Vec::new();
    for provider in providers(&cluster, &state)? {
        let cloud = cloud::client(context, provider)?;
        let observed = observe(context, &cloud, &cluster.name)?;
        parts.push(Part { provider, cloud, observed });
    }
    let mut all: Vec<Doomed> = parts.iter().flat_map(|part| doomed(part.provider, &part.observed, &state)).collect();
    all.sort_by(|one, other| one.node.cmp(&other.node));
    let whole = request.targets.is_empty();
    let servers = if whole { all } else { select(&all, &request.targets)? };
    let names: BTreeSet<&str> = servers.iter().map(|doomed| doomed.node.as_str()).collect();
    needed(&cluster, &state, &names, whole)?;
    servers.iter().try_for_each(|doomed| deletable(doomed, &state))?;
    if whole {
        for part in &parts {
            let here: Vec<&Doomed> = servers.iter().filter(|doomed| doomed.provider == part.provider).collect();
            present(&here, &part.observed, &state)?;
        }
    }
    let confirmed = request.confirmed.clone();
    Ok(Destroy { context: context.clone(), cluster, parts, servers, whole, confirmed })
}

/// Returns the providers that machines.nix or the record names; without any, those whose tokens there are.
fn providers(cluster: &Cluster, state: &RecordedState) -> Result<Vec<Provider>, Failure> {
    let named = |provider: &Provider| {
        desired::at(cluster, *provider).is_some() || state.servers.values().any(|server| server.provider == *provider)
    };
    let mut providers: Vec<Provider> = PROVIDERS.into_iter().filter(named).collect();
    if providers.is_empty() {
        providers = PROVIDERS.into_iter().filter(|provider| cloud::has_token(*provider)).collect();
    }
    if providers.is_empty() {
        return Err(Failure::new(Kind::Input, "neither machines.nix nor the record names a server of a cloud")
            .hint("export the token of the provider that has some still"));
    }
    Ok(providers)
}

/// Returns every server that has the cluster's label, and every node whose recorded server is gone.
fn doomed(provider: Provider, observed: &Observed, state: &RecordedState) -> Vec<Doomed> {
    let mut all: Vec<Doomed> = observed
        .servers
        .iter()
        .map(|server| Doomed {
            node: server.node.as_ref().map_or_else(|| server.name.clone(), ToString::to_string),
            server: Some(server.clone()),
            provider,
        })
        .collect();
    let gone = state.servers.iter().filter(|(_, recorded)| {
        recorded.provider == provider && !observed.servers.iter().any(|server| server.id.0 == recorded.id)
    });
    let gone: Vec<Doomed> = gone.map(|(node, _)| Doomed { node: node.to_string(), server: None, provider }).collect();
    let known: BTreeSet<String> = all.iter().map(|doomed| doomed.node.clone()).collect();
    all.extend(gone.into_iter().filter(|doomed| !known.contains(&doomed.node)));
    all.sort_by(|one, other| one.node.cmp(&other.node));
    all
}

/// Deletes the recorded server of a node whose machine is replaced, unless the provider has it no more, and forgets it. The
/// caller has asked for consent.
///
/// # Errors
/// The provider refuses, or the record cannot be written.
pub fn discard(context: &Context, node: &NodeName) -> Result<(), Failure> {
    let state = context.project.state()?;
    let Some(recorded) = state.servers.get(node) else { return Ok(()) };
    let cluster = context.project.load()?.cluster;
    let provider = recorded.provider;
    let cloud = cloud::client(context, provider)?;
    let observed = observe(context, &cloud, &cluster.name)?;
    let server = observed.servers.iter().find(|server| server.id.0 == recorded.id).cloned();
    let doomed = Doomed { node: node.to_string(), server, provider };
    deletable(&doomed, &state)?;
    let servers = vec![doomed.clone()];
    let parts = vec![Part { provider, cloud, observed }];
    let destroy = Destroy { context: context.clone(), cluster, parts, servers, whole: false, confirmed: None };
    runtime(context, async { Ok(destroy.delete(&doomed).await) })??;
    destroy.forget(&doomed)
}

fn select(all: &[Doomed], targets: &[String]) -> Result<Vec<Doomed>, Failure> {
    let mut chosen: Vec<Doomed> = Vec::new();
    for target in targets {
        let found: Vec<&Doomed> = all.iter().filter(|doomed| doomed.node == *target).collect();
        if found.is_empty() {
            let known: Vec<&str> = all.iter().map(|doomed| doomed.node.as_str()).collect();
            let failure = Failure::new(Kind::Input, format!("`{target}` has no server"));
            return Err(failure.hint(match known.as_slice() {
                [] => "the cluster has none at the provider".to_owned(),
                known => format!("servers: {}", known.join(", ")),
            }));
        }
        chosen.extend(
            found
                .into_iter()
                .filter(|doomed| !chosen.iter().any(|one| one.node == doomed.node))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
    Ok(chosen)
}

/// Refuses a server that the record does not know, in a directory whose cluster runs: its checkout may be an old one, or
/// another cluster has the same name in this project.
pub(super) fn deletable(doomed: &Doomed, state: &RecordedState) -> Result<(), Failure> {
    let Some(server) = &doomed.server else { return Ok(()) };
    if server.protected {
        return Err(Failure::new(Kind::Refused, format!("the provider protects {} from deletion", server.name))
            .hint("end the protection in its console"));
    }
    let runs = !state.etcd.members.is_empty() || !state.machines.is_empty();
    let recorded = state.servers.values().any(|recorded| recorded.id == server.id.0);
    if recorded || !runs {
        return Ok(());
    }
    let message = format!("the server {} ({}) is not in the record of this directory", server.name, server.id.0);
    Err(Failure::new(Kind::Refused, message).hint(
        "get the newest state/ of the cluster; or, if the server is this cluster's, `machinist provision` records it",
    ))
}

/// Refuses to forget a whole cluster of which this project has nothing: the token may be that of another project.
fn present(servers: &[&Doomed], observed: &Observed, state: &RecordedState) -> Result<(), Failure> {
    let nothing = servers.iter().all(|doomed| doomed.server.is_none());
    // What servers shared is deleted after the last of them was forgotten: an interrupted end finds it.
    let is_begun = state.destroying && has_shared(observed);
    if servers.is_empty() || !nothing || is_begun {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, "none of the recorded servers is in this project").hint(
        "use the token of their project; if they were deleted there, take `servers`, `machines` and `etcd` out of \
         state/cluster.json",
    ))
}

/// Returns true if there is something that servers of the cluster share.
fn has_shared(observed: &Observed) -> bool {
    let Observed { keys, network, groups, firewalls, .. } = observed;
    network.is_some() || !groups.is_empty() || !firewalls.is_empty() || keys.values().any(|key| key.ours)
}

/// Refuses to destroy nodes that the running cluster needs. All of its members together are the whole cluster, which its
/// operator may end.
fn needed(cluster: &Cluster, state: &RecordedState, names: &BTreeSet<&str>, whole: bool) -> Result<(), Failure> {
    // Consent was given before an interruption; some of the members are gone.
    if whole && state.destroying {
        return Ok(());
    }
    let (members, elsewhere): (Vec<&str>, Vec<&str>) =
        state.etcd.members.iter().map(NodeName::as_str).partition(|member| names.contains(member));
    if whole {
        if elsewhere.is_empty() {
            return Ok(());
        }
        let message = format!("members of etcd have no server here: {}", elsewhere.join(", "));
        return Err(Failure::new(Kind::Refused, message)
            .hint("the whole cluster would not end; name the servers that do, after their nodes have left it"));
    }
    if let Some(first) = members.first() {
        let failure = Failure::new(Kind::Refused, format!("still in etcd: {}", members.join(", ")));
        return Err(if elsewhere.is_empty() {
            failure.hint("`machinist destroy` without names ends the whole cluster")
        } else {
            failure.hint(format!("take it out of etcd first: `machinist node remove {first}`; then destroy its server"))
        });
    }
    let runs = |name: &NodeName| {
        names.contains(name.as_str())
            && state.machines.contains_key(name)
            && cluster.nodes.get(name).is_some_and(machinist_model::Node::is_deployable)
    };
    let in_use: Vec<&str> = state.machines.keys().filter(|name| runs(name)).map(NodeName::as_str).collect();
    if in_use.is_empty() {
        return Ok(());
    }
    let message = format!("{} still belongs to the running cluster", in_use.join(", "));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "drain it (`machinist node drain {}`), and take it out of machines.nix or set enable = false; then deploy, and \
         destroy its server",
        in_use.first().copied().unwrap_or_default()
    )))
}

impl Destroy {
    /// Returns the nodes whose servers would be deleted.
    #[must_use]
    pub fn nodes(&self) -> &[Doomed] {
        &self.servers
    }

    /// Returns true if there is neither a server nor anything that servers shared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let shared = |part: &Part| has_shared(&part.observed);
        self.servers.is_empty() && !(self.whole && self.parts.iter().any(shared))
    }

    /// Returns the zone in which records of the cluster may remain.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.cluster.dns.as_ref().filter(|dns| dns.provider.is_some()).map(|dns| dns.zone.as_str())
    }

    /// Returns true if the whole cluster ends.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Returns what would remain, and may cost.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Leftover> {
        let of_part = |part: &Part| {
            let here = self.servers.iter().filter(|doomed| doomed.provider == part.provider);
            let ids: BTreeSet<_> = here.filter_map(|doomed| Some(&doomed.server.as_ref()?.id)).collect();
            let stays = |leftover: &&Leftover| leftover.server.as_ref().is_some_and(|server| ids.contains(server));
            part.observed.leftovers.iter().filter(stays).cloned().collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(of_part).collect()
    }

    /// Deletes the servers after the cluster's name was typed. If the cluster has none left, what they shared is deleted,
    /// too. Killed at any moment, the next run finishes.
    ///
    /// # Errors
    /// Consent was refused, or the record cannot be written.
    pub fn run(&self) -> Result<Destroyed, Failure> {
        if !self.is_empty() {
            self.confirm()?;
        }
        if self.whole && !self.servers.is_empty() {
            self.record(|state| state.destroying = true)?;
        }
        let leftovers = self.leftovers();
        let mut servers = Vec::new();
        let mut failed = Vec::new();
        let turn = Mutex::new(());
        let ends = runtime(&self.context, async {
            let turn = &turn;
            let work = self.servers.iter().map(|doomed| async move {
                let deleted = self.delete(doomed).await;
                // Right after it is gone: an interruption must not leave a record of it.
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                (doomed, deleted.and_then(|()| self.forget(doomed)))
            });
            Ok(futures_util::future::join_all(work).await)
        })?;
        for (doomed, result) in ends {
            let node = doomed.node.clone();
            match result {
                Ok(()) => servers.push(node),
                Err(failure) => failed.push(Undeleted { node, failure }),
            }
        }
        let removed = if failed.is_empty() { self.end()? } else { Removed::default() };
        Ok(Destroyed { servers, shared: removed.deleted, kept: removed.kept, leftovers, failed })
    }

    async fn delete(&self, doomed: &Doomed) -> Result<(), Failure> {
        let Some(server) = &doomed.server else { return Ok(()) };
        let Some(part) = self.parts.iter().find(|part| part.provider == doomed.provider) else { return Ok(()) };
        self.context.events.note_all(format!("{}: deleting the server", doomed.node));
        part.cloud.delete(&server.id).await.map_err(|error| failure(&error))
    }

    /// Refuses a consent in advance that is for another cluster, before anything is done.
    ///
    /// # Errors
    /// It is.
    pub fn consent_given(&self) -> Result<(), Failure> {
        if self.confirmed.is_some() { self.confirm() } else { Ok(()) }
    }

    fn confirm(&self) -> Result<(), Failure> {
        let name = &self.cluster.name;
        let count = self.servers.len();
        let things = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
        let extent = if self.whole { "the whole cluster: " } else { "" };
        if let Some(given) = &self.confirmed {
            if given == name {
                return Ok(());
            }
            let message = format!("`--yes-destroy {given}` names another cluster; this one is {name}");
            return Err(Failure::new(Kind::Refused, message));
        }
        self.context.consent.ask(&Question {
            text: format!(
                "{extent}{things} of {name} and everything on them will be deleted. Type the cluster's name to go on:"
            ),
            accepted: vec![name.clone()],
            consequence: format!(
                "{extent}{things} of {name} would be deleted; give consent with --yes-destroy {name}, --yes is not enough"
            ),
        })
    }

    fn record(&self, change: impl FnOnce(&mut RecordedState)) -> Result<(), Failure> {
        let before = self.context.project.state()?;
        let mut state = before.clone();
        change(&mut state);
        if state == before { Ok(()) } else { self.context.project.record(&state) }
    }

    /// Forgets a server that is gone: its record, its pinned host key and the key of its first system.
    fn forget(&self, doomed: &Doomed) -> Result<(), Failure> {
        let project = &self.context.project;
        let Ok(node) = NodeName::parse(&doomed.node) else { return Ok(()) };
        let recorded = project.state()?.servers.get(&node).map(|server| server.address);
        let found = doomed.server.as_ref().map(|server| [server.ipv4, server.ipv6]);
        let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
        for address in found.into_iter().flatten().flatten().chain(recorded) {
            known_hosts.forget(&host_pattern(&address.to_string(), 22)).failed()?;
        }
        host_key::remove_first_boot(&project.certs(), &node)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        self.record(|state| {
            state.servers.remove(&node);
            state.machines.remove(&node);
        })
    }

    /// Deletes what the servers shared at each provider that has none left, and forgets a cluster that ended whole: the
    /// data of every member is gone, so the next deploy founds one, and no member of the old one can return.
    fn end(&self) -> Result<Removed, Failure> {
        let name = &self.cluster.name;
        let mut observed = Vec::new();
        for part in &self.parts {
            observed.push((part, observe(&self.context, &part.cloud, name)?));
        }
        let all = observed.iter().all(|(_, observed)| observed.servers.is_empty());
        // Consent was recorded: an empty project alone proves nothing about the cluster.
        if all && self.whole && self.context.project.state()?.destroying {
            self.record(|state| {
                state.etcd = machinist_model::state::EtcdState::default();
                state.running = None;
                state.moving = None;
                state.replacing = None;
            })?;
        }
        let mut removed = Removed::default();
        for (part, observed) in observed.iter().filter(|(_, observed)| observed.servers.is_empty()) {
            let more = runtime(&self.context, part.cloud.delete_shared(observed, name))?;
            removed.deleted.extend(more.deleted);
            removed.kept.extend(more.kept);
        }
        if all {
            self.record(|state| state.destroying = false)?;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use machinist_model::{NodeName, Provider, RecordedMachine, RecordedServer, RecordedState, fixtures};
    use machinist_providers::observed::{Found, FoundServer, Id, Observed};

    use super::{Doomed, deletable, doomed, needed};

    fn state(members: &[&str], machines: &[&str]) -> RecordedState {
        let name = |name: &&str| NodeName::parse(name).unwrap();
        let mut state = RecordedState::default();
        state.etcd.bootstrapped = !members.is_empty();
        state.etcd.members = members.iter().map(name).collect();
        state.machines = machines.iter().map(|machine| (name(machine), RecordedMachine::default())).collect();
        state
    }

    #[track_caller]
    fn check(state: &RecordedState, names: &[&str], whole: bool, refused: Option<&str>) {
        let cluster = fixtures::three_member_etcd();
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let message = needed(&cluster, state, &names, whole).err().map(|failure| failure.message);
        assert_eq!(message.as_deref(), refused);
    }

    #[test]
    fn half_a_cluster_is_never_destroyed() {
        let running = state(&["balthazar", "casper", "melchior"], &["balthazar", "casper", "melchior"]);
        check(&running, &["casper"], false, Some("still in etcd: casper"));
        let all = ["balthazar", "casper", "melchior"];
        check(&running, &all, false, Some("still in etcd: balthazar, casper, melchior"));
        check(&running, &all, true, None);
        // One member is not at the provider: ending the others would end etcd.
        check(&running, &["balthazar", "casper"], true, Some("members of etcd have no server here: melchior"));
        // A cluster of other machines, and a token of a project without servers: nothing is destroyed or forgotten.
        let none = Some("members of etcd have no server here: balthazar, casper, melchior");
        check(&running, &[], true, none);
    }

    #[test]
    fn a_deployed_machine_is_taken_out_of_machines_nix_first() {
        let removed = state(&["balthazar", "melchior"], &["casper"]);
        check(&removed, &["casper"], false, Some("casper still belongs to the running cluster"));
        check(&state(&[], &[]), &["casper"], false, None);
        check(&state(&[], &["gone"]), &["gone"], false, None);
    }

    #[test]
    fn a_cluster_that_is_being_destroyed_can_be_destroyed_to_its_end() {
        let mut state = state(&["balthazar", "casper", "melchior"], &["balthazar", "casper", "melchior"]);
        // One is gone already, and etcd has no quorum any more.
        check(&state, &["balthazar", "casper"], true, Some("members of etcd have no server here: melchior"));
        state.destroying = true;
        check(&state, &["balthazar", "casper"], true, None);
        check(&state, &["casper"], false, Some("still in etcd: casper"));
    }

    fn server(id: &str) -> FoundServer {
        FoundServer {
            id: Id(id.to_owned()),
            name: "magi-casper".to_owned(),
            node: NodeName::parse("casper").ok(),
            server_type: "cx23".to_owned(),
            location: "nbg1".to_owned(),
            on: true,
            ending: false,
            protected: false,
            first_key: None,
            state: "running".to_owned(),
            ipv4: None,
            ipv6: None,
            private: Vec::new(),
            firewalls: BTreeSet::new(),
            fixed: None,
        }
    }

    fn recorded(id: &str) -> RecordedServer {
        RecordedServer {
            id: id.to_owned(),
            address: [203, 0, 113, 7].into(),
            private_mac: None,
            provider: Provider::Hetzner,
            fixed: None,
        }
    }

    #[test]
    fn a_server_that_the_record_does_not_know_is_not_deleted_while_a_cluster_runs() {
        let doomed = Doomed { node: "casper".to_owned(), server: Some(server("7")), provider: Provider::Hetzner };
        let mut state = state(&["balthazar"], &["balthazar"]);
        let failure = deletable(&doomed, &state).unwrap_err();
        assert!(failure.message.contains("magi-casper (7) is not in the record"), "{}", failure.message);
        let record = recorded("7");
        state.servers.insert(NodeName::parse("casper").unwrap(), record);
        deletable(&doomed, &state).unwrap();
        let protected = Doomed { server: Some(FoundServer { protected: true, ..server("7") }), ..doomed };
        deletable(&protected, &state).unwrap_err();
        deletable(&protected, &RecordedState::default()).unwrap_err();
    }

    #[test]
    fn a_recorded_server_that_the_provider_has_no_more_is_forgotten() {
        let mut state = state(&[], &[]);
        let record = recorded("7");
        state.servers.insert(NodeName::parse("casper").unwrap(), record);
        let all = doomed(Provider::Hetzner, &Observed::default(), &state);
        assert_eq!(
            all.iter().map(|one| (one.node.as_str(), one.server.is_some())).collect::<Vec<_>>(),
            [("casper", false)]
        );
        let observed = Observed { servers: vec![server("7")], ..Observed::default() };
        assert!(doomed(Provider::Hetzner, &observed, &state)[0].server.is_some());
        // A server of another provider is none of this one's.
        assert!(doomed(Provider::Digitalocean, &Observed::default(), &state).is_empty());
        // All of them at once are not those of this project, unless their end was begun: then what they shared is there.
        let present = |all: &[Doomed], observed: &Observed, state: &RecordedState| {
            super::present(&all.iter().collect::<Vec<_>>(), observed, state)
        };
        let empty = Observed::default();
        present(&all, &empty, &state).unwrap_err();
        present(&doomed(Provider::Hetzner, &observed, &state), &empty, &state).unwrap();
        let begun = RecordedState { destroying: true, ..state };
        present(&all, &empty, &begun).unwrap_err();
        let group = Found { id: Id("3".to_owned()), name: "magi-control".to_owned(), ours: true };
        let shared = Observed { groups: [("magi-control".to_owned(), group)].into(), ..Observed::default() };
        present(&all, &shared, &begun).unwrap();
    }
}
