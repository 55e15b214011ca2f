//! The server of a node whose machine is replaced: what is left of the old one, and the plan of the new one.

use machinist_model::{NodeName, Provider, RecordedState, Replacement, replacing::Step};
use machinist_providers::observed::{FoundServer, Id, Observed};

use super::{Compared, Doomed, Provision, Request, cloud, destroy::deletable, observe, prepare_with};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// The server that a node had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Former {
    /// None is recorded.
    None,
    /// It is recorded, and the provider has it no more.
    Gone {
        /// Its identifier.
        id: String,
    },
    /// It exists.
    There {
        /// The server.
        server: Box<FoundServer>,
    },
}

/// The old server, and the plan of the new one.
pub struct Succession {
    /// The old one, which ends before the new one is created.
    pub former: Former,
    /// The new one. Nothing has been created yet.
    pub provision: Provision,
}

/// Returns what is left of the node's recorded server.
///
/// # Errors
/// The provider does not answer, or has none of the recorded servers: the token may be that of another project.
pub fn former(context: &Context, node: &NodeName) -> Result<Former, Failure> {
    let state = context.project.state()?;
    let Some(recorded) = state.servers.get(node) else { return Ok(Former::None) };
    let cluster = context.project.load()?.cluster;
    let cloud = cloud::client(context, recorded.provider)?;
    let observed = observe(context, &cloud, &cluster.name)?;
    of(node, &state, &observed)
}

/// Compares the new server with what exists. Before it may be created, the old one counts as deleted.
///
/// # Errors
/// The old server is not to be deleted, or the new one could not be created.
pub fn prepare(context: &Context, replacing: &Replacement) -> Result<Succession, Failure> {
    let node = &replacing.node;
    let state = context.project.state()?;
    same_provider(context, node, &state)?;
    let provider = Provider::Hetzner;
    let mut former = Former::None;
    let provision = prepare_with(context, &Request { targets: vec![node.to_string()] }, |compared| {
        let Compared { desired, wanted, observed } = compared;
        for server in desired.servers.iter_mut().filter(|server| server.node == *node) {
            if let Some(server_type) = &replacing.server_type {
                server.server_type.clone_from(server_type);
            }
            if let Some(location) = &replacing.location {
                server.location.clone_from(location);
            }
        }
        if replacing.step >= Step::Create {
            return Ok(());
        }
        former = of(node, &state, observed)?;
        wanted.recorded.remove(node);
        match &former {
            Former::There { server } => {
                deletable(&Doomed { node: node.to_string(), server: Some((**server).clone()), provider }, &state)?;
                observed.servers.retain(|other| other.id != server.id);
                observed.taken.retain(|_, name| *name != server.name);
            }
            Former::None | Former::Gone { .. } => {}
        }
        unrecorded(node, observed, &state)
    })
    .map_err(|failure| match failure.kind {
        Kind::Refused => failure.hint(format!(
            "`machinist node replace {node} --server-type TYPE` or `--location LOCATION` makes it another server"
        )),
        _ => failure,
    })?;
    Ok(Succession { former, provision })
}

/// Refuses a node whose recorded server is another provider's than that of machines.nix: it would be looked for, and its
/// end confirmed, at the wrong one.
fn same_provider(context: &Context, node: &NodeName, state: &RecordedState) -> Result<(), Failure> {
    let Some(recorded) = state.servers.get(node) else { return Ok(()) };
    let cluster = context.project.load()?.cluster;
    if cluster.nodes.get(node).is_none_or(|node| node.provider == recorded.provider) {
        return Ok(());
    }
    let message = format!("the server of {node} is recorded at another provider than machines.nix says");
    Err(Failure::new(Kind::Refused, message)
        .hint(format!("end it first: `machinist node remove {node}`, `machinist destroy {node}`")))
}

fn of(node: &NodeName, state: &RecordedState, observed: &Observed) -> Result<Former, Failure> {
    let Some(recorded) = state.servers.get(node) else { return Ok(Former::None) };
    let exists = |id: &str| observed.servers.iter().find(|server| server.id.0 == *id);
    if let Some(server) = exists(&recorded.id) {
        return Ok(Former::There { server: Box::new(server.clone()) });
    }
    if let Some((name, _)) = observed.foreign.iter().find(|(_, id)| **id == Id(recorded.id.clone())) {
        let message = format!("the server {name} ({}) has lost its label machinist/cluster", recorded.id);
        return Err(Failure::new(Kind::Refused, message).hint("add the label in the provider's console"));
    }
    let mut others =
        state.servers.iter().filter(|(other, server)| *other != node && server.provider == recorded.provider);
    // Without another server of the cluster there, its network proves that this is its project.
    if observed.network.is_none() && !others.any(|(_, other)| exists(&other.id).is_some()) {
        return Err(Failure::new(Kind::Refused, "none of the recorded servers is in this project")
            .hint("use the token of their project"));
    }
    Ok(Former::Gone { id: recorded.id.clone() })
}

/// Refuses a server with the node's label that is not in the record: another operator may have created it.
fn unrecorded(node: &NodeName, observed: &Observed, state: &RecordedState) -> Result<(), Failure> {
    let found = observed.servers.iter().find(|server| server.node.as_ref() == Some(node));
    match found {
        None => Ok(()),
        Some(server) => {
            let server = Some(server.clone());
            deletable(&Doomed { node: node.to_string(), server, provider: Provider::Hetzner }, state)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{NodeName, Provider, RecordedServer, RecordedState};
    use machinist_providers::observed::{FoundNetwork, Id, Observed};

    use super::{Former, of};

    fn recorded(all: &[(&str, Provider)]) -> RecordedState {
        let mut state = RecordedState::default();
        for (number, (name, provider)) in (1..).zip(all) {
            let (id, address) = (number.to_string(), [203, 0, 113, number].into());
            let server = RecordedServer { id, address, private_mac: None, provider: *provider, fixed: None };
            state.servers.insert(NodeName::parse(name).unwrap(), server);
        }
        state
    }

    #[test]
    fn a_server_is_gone_only_in_the_project_of_the_cluster() {
        let node = NodeName::parse("casper").unwrap();
        let state = recorded(&[("casper", Provider::Hetzner)]);
        // No other server proves it: the token may be that of another project, and the server run on.
        of(&node, &state, &Observed::default()).unwrap_err();
        let (id, name) = (Id("9".to_owned()), "magi".to_owned());
        let network = FoundNetwork { id, name, range: None, subnets: Vec::new(), members: 0 };
        let ours = Observed { network: Some(network), ..Observed::default() };
        assert_eq!(of(&node, &state, &ours).unwrap(), Former::Gone { id: "1".to_owned() });
        // A droplet is in no project of Hetzner.
        let mixed = recorded(&[("casper", Provider::Hetzner), ("melchior", Provider::Digitalocean)]);
        of(&node, &mixed, &Observed::default()).unwrap_err();
        of(&node, &mixed, &ours).unwrap();
    }
}
