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
    let provider = Provider::Hetzner;
    address_stays(context, node)?;
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

/// Refuses a node whose new server would have another address: members of etcd, certificates and every node name it.
fn address_stays(context: &Context, node: &NodeName) -> Result<(), Failure> {
    let cluster = context.project.load()?.cluster;
    if !cluster.nodes.get(node).is_some_and(|node| node.digitalocean.is_some()) {
        return Ok(());
    }
    let message = format!("a new droplet of {node} would have another address, which DigitalOcean chooses");
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "`machinist node remove {node}`, then `machinist destroy {node}`, `provision`, `install` and `node join`"
    )))
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
    let mut others = state.servers.iter().filter(|(other, _)| *other != node).peekable();
    if others.peek().is_some() && !others.any(|(_, other)| exists(&other.id).is_some()) {
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
