//! Destruction of servers: of single ones that hold nothing of the running cluster, or of the whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{Cluster, NodeName, RecordedState};
use machinist_pki::host_key;
use machinist_providers::{
    Cloud as _,
    hetzner::Hetzner,
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
    cloud: Hetzner,
    observed: Observed,
    servers: Vec<(NodeName, FoundServer)>,
    whole: bool,
    confirmed: Option<String>,
}

/// What was destroyed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destroyed {
    /// Nodes whose servers are gone.
    pub servers: Vec<NodeName>,
    /// What they shared, and is gone.
    pub shared: Vec<String>,
    /// What remains, and may cost.
    pub leftovers: Vec<Leftover>,
    /// Servers that could not be deleted.
    pub failed: Vec<super::Incomplete>,
}

/// Finds the servers, and refuses those that the running cluster needs.
///
/// # Errors
/// There is no such server, or a node still belongs to the running cluster.
pub fn prepare(context: &Context, request: &DestroyRequest) -> Result<Destroy, Failure> {
    let cluster = context.project.load()?.cluster;
    let cloud = cloud::hetzner(context)?;
    let observed = observe(context, &cloud, &cluster.name)?;
    let existing: BTreeMap<NodeName, FoundServer> =
        observed.servers.iter().filter_map(|server| Some((server.node.clone()?, server.clone()))).collect();
    let whole = request.targets.is_empty();
    let servers: Vec<(NodeName, FoundServer)> =
        if whole { existing.clone().into_iter().collect() } else { select(&existing, &request.targets)? };
    let names: BTreeSet<&NodeName> = servers.iter().map(|(node, _)| node).collect();
    needed(&cluster, &context.project.state()?, &names, whole)?;
    let confirmed = request.confirmed.clone();
    Ok(Destroy { context: context.clone(), cluster, cloud, observed, servers, whole, confirmed })
}

fn select(
    existing: &BTreeMap<NodeName, FoundServer>,
    targets: &[String],
) -> Result<Vec<(NodeName, FoundServer)>, Failure> {
    let mut chosen = BTreeMap::new();
    for target in targets {
        let found = NodeName::parse(target).ok().and_then(|name| existing.get_key_value(&name));
        let Some((name, server)) = found else {
            let known: Vec<&str> = existing.keys().map(NodeName::as_str).collect();
            let failure = Failure::new(Kind::Input, format!("`{target}` has no server"));
            return Err(failure.hint(match known.as_slice() {
                [] => "the cluster has none at the provider".to_owned(),
                known => format!("servers: {}", known.join(", ")),
            }));
        };
        chosen.insert(name.clone(), server.clone());
    }
    Ok(chosen.into_iter().collect())
}

/// Refuses to destroy nodes that the running cluster needs. All of its members together are the whole cluster, which its
/// operator may end.
fn needed(cluster: &Cluster, state: &RecordedState, names: &BTreeSet<&NodeName>, whole: bool) -> Result<(), Failure> {
    let elsewhere: Vec<&str> =
        state.etcd.members.iter().filter(|member| !names.contains(member)).map(NodeName::as_str).collect();
    let members: Vec<&str> =
        state.etcd.members.iter().filter(|member| names.contains(member)).map(NodeName::as_str).collect();
    if whole && elsewhere.is_empty() {
        return Ok(());
    }
    if !members.is_empty() {
        let message = format!("still in etcd: {}", members.join(", "));
        let failure = Failure::new(Kind::Refused, message);
        return Err(match elsewhere.as_slice() {
            [] => failure.hint("`machinist destroy` without names ends the whole cluster"),
            _ => failure.hint(format!(
                "take it out of etcd first: `machinist node remove {}`; then destroy its server",
                members.first().copied().unwrap_or_default()
            )),
        });
    }
    let in_use: Vec<&str> = names
        .iter()
        .filter(|name| state.machines.contains_key(**name))
        .filter(|name| cluster.nodes.get(**name).is_some_and(machinist_model::Node::is_deployable))
        .map(|name| name.as_str())
        .collect();
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
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &FoundServer)> {
        self.servers.iter().map(|(node, server)| (node, server))
    }

    /// Returns what would remain, and may cost.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Leftover> {
        let ids: BTreeSet<_> = self.servers.iter().map(|(_, server)| &server.id).collect();
        let stays = |leftover: &&Leftover| leftover.server.as_ref().is_some_and(|server| ids.contains(server));
        self.observed.leftovers.iter().filter(stays).cloned().collect()
    }

    /// Deletes the servers after the cluster's name was typed. If the cluster has none left, what they shared is deleted,
    /// too. Killed at any moment, the next run finishes.
    ///
    /// # Errors
    /// Consent was refused, or the record cannot be written.
    pub fn run(&self) -> Result<Destroyed, Failure> {
        self.confirm()?;
        let leftovers = self.leftovers();
        let mut servers = Vec::new();
        let mut failed = Vec::new();
        let ends = runtime(&self.context, async {
            let work = self.servers.iter().map(|(node, server)| async move {
                self.context.events.note(node, "deleting the server");
                (node.clone(), server, self.cloud.delete(&server.id).await)
            });
            Ok(futures_util::future::join_all(work).await)
        })?;
        for (node, server, result) in ends {
            match result {
                Ok(()) => {
                    self.forget(&node, server)?;
                    servers.push(node);
                }
                Err(error) => failed.push(super::Incomplete { node, failure: failure(&error) }),
            }
        }
        let shared = if failed.is_empty() { self.delete_shared()? } else { Vec::new() };
        Ok(Destroyed { servers, shared, leftovers, failed })
    }

    fn confirm(&self) -> Result<(), Failure> {
        let name = &self.cluster.name;
        let count = self.servers.len();
        let things = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
        if let Some(given) = &self.confirmed {
            if given == name {
                return Ok(());
            }
            let message = format!("`--yes-destroy {given}` names another cluster; this one is {name}");
            return Err(Failure::new(Kind::Refused, message));
        }
        self.context.consent.ask(&Question {
            text: format!(
                "{things} of {name} and everything on them will be deleted. Type the cluster's name to go on:"
            ),
            accepted: vec![name.clone()],
            consequence: format!("{things} of {name} would be deleted; consent with --yes-destroy {name}"),
        })
    }

    /// Forgets a server that is gone: its record, its pinned host key and the key of its first system.
    fn forget(&self, node: &NodeName, server: &FoundServer) -> Result<(), Failure> {
        let project = &self.context.project;
        let mut state = project.state()?;
        state.servers.remove(node);
        state.machines.remove(node);
        project.record(&state)?;
        let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
        for address in [server.ipv4, server.ipv6].into_iter().flatten() {
            known_hosts.forget(&host_pattern(&address.to_string(), 22)).failed()?;
        }
        host_key::remove_first_boot(&project.certs(), node)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
    }

    /// Deletes what the servers shared if the provider has none left, and then forgets the cluster that ran on them.
    fn delete_shared(&self) -> Result<Vec<String>, Failure> {
        let observed = observe(&self.context, &self.cloud, &self.cluster.name)?;
        if !observed.servers.is_empty() {
            return Ok(Vec::new());
        }
        let shared = runtime(&self.context, self.cloud.delete_shared(&observed))?;
        let project = &self.context.project;
        let gone: BTreeSet<&NodeName> = self.servers.iter().map(|(node, _)| node).collect();
        let before = project.state()?;
        let mut state = before.clone();
        // Every member's data is gone, so the next deploy founds a cluster: no member of the old one can return.
        if self.whole
            && !before.etcd.members.is_empty()
            && before.etcd.members.iter().all(|member| gone.contains(member))
        {
            state.etcd = machinist_model::state::EtcdState::default();
            state.running = None;
            state.moving = None;
        }
        if state != before {
            project.record(&state)?;
        }
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use machinist_model::{NodeName, RecordedMachine, RecordedState, fixtures};

    use super::needed;

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
        let names: Vec<NodeName> = names.iter().map(|name| NodeName::parse(name).unwrap()).collect();
        let names: BTreeSet<&NodeName> = names.iter().collect();
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
        check(&running, &["balthazar", "casper"], true, Some("still in etcd: balthazar, casper"));
    }

    #[test]
    fn a_deployed_machine_is_taken_out_of_machines_nix_first() {
        let removed = state(&["balthazar", "melchior"], &["casper"]);
        check(&removed, &["casper"], false, Some("casper still belongs to the running cluster"));
        check(&state(&[], &[]), &["casper"], false, None);
        check(&state(&[], &["gone"]), &["gone"], false, None);
    }
}
