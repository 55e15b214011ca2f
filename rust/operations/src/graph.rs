//! Topology of the cluster, and what a failure takes.

use machinist_topology::{Topology, topology::Health};

use crate::{
    context::Context,
    failure::{Failure, Kind},
    status,
};

/// Request for the topology.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A label that divides the machines into failure domains.
    pub by: Option<String>,
    /// Asks the machines for their health.
    pub live: bool,
}

/// Computes the topology from machines.nix; the machines are contacted only if the request says so.
///
/// # Errors
/// The cluster's files are invalid, or no machine has the label. A machine that does not answer is part of the result.
pub fn run(context: &Context, request: &Request) -> Result<Topology, Failure> {
    let cluster = context.project.load()?.cluster;
    if let Some(label) =
        request.by.as_ref().filter(|label| !cluster.nodes.values().any(|node| node.labels.contains_key(*label)))
    {
        let hint = format!("`labels.{label} = \"...\";` on machines in machines.nix");
        return Err(Failure::new(Kind::Input, format!("no machine has the label {label}")).hint(hint));
    }
    let mut topology = Topology::new(&cluster, request.by.as_deref());
    if request.live {
        let status = status::run(context, &status::Request::default())?;
        let health = |node: &status::Node| Health {
            healthy: node.is_healthy(),
            says: machinist_text::one_line(&node.words()).into_owned(),
        };
        topology.health = status.nodes.iter().map(|node| (node.node.clone(), health(node))).collect();
    }
    Ok(topology)
}
