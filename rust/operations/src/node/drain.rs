//! Drain and uncordon: a node's Kubernetes pods or mesh instances leave it before it goes down, and come back
//! afterwards.

use std::{collections::BTreeMap, time::Duration};

use machinist_kubernetes::drain::Allowed;
use machinist_model::{Cluster, NodeName, Orchestrator, RecordedState, moving::Command};
use machinist_rollout::{lock::Scope, step::Connector};

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    kubernetes,
    locks::{self, Locks},
    run_id::run_id,
    workload::{instances::Instances, pods::Pods},
};

/// Request to drain a node.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the node.
    pub node: NodeName,
    /// Timeout for pods to terminate, or for connections to instances to close.
    pub bound: Duration,
    /// Pods that may be evicted even though their data is lost.
    pub allowed: Allowed,
}

/// Workload drained from a node, or restored to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Pods of Kubernetes.
    Pods {
        /// Number of evicted pods; none after an uncordon.
        evicted: usize,
    },
    /// Instances of the service mesh, by name.
    Instances {
        /// Their names.
        names: Vec<String>,
    },
}

/// Drains a node.
///
/// # Errors
/// The node has no drainable workload, or some of it remained on the node.
pub fn drain(context: &Context, request: &Request) -> Result<Moved, Failure> {
    let node = &request.node;
    let (work, _locks) = open(context, node, locks::of_leaving)?;
    match work {
        Work::Pods(pods) => {
            let tell = |text: &str| context.events.remark(format!("{node} {text}"));
            let evicted = pods.drain(node, request.allowed, request.bound, &tell)?;
            Ok(Moved::Pods { evicted })
        }
        Work::Instances(instances) => Ok(Moved::Instances { names: instances.drain(node, request.bound)? }),
    }
}

/// Uncordons a node: pods, or connections to its instances, are admitted again.
///
/// # Errors
/// The node has no drainable workload, or does not answer.
pub fn uncordon(context: &Context, node: &NodeName) -> Result<Moved, Failure> {
    let (work, _locks) = open(context, node, locks::of_node)?;
    match work {
        Work::Pods(pods) => {
            pods.uncordon(node, false)?;
            Ok(Moved::Pods { evicted: 0 })
        }
        Work::Instances(instances) => Ok(Moved::Instances { names: instances.undrain(node)? }),
    }
}

/// Workload of the node.
enum Work {
    Pods(Pods),
    Instances(Instances),
}

/// Nodes to lock for the drain.
type ScopeOf = fn(&Cluster, &RecordedState, &NodeName) -> Scope;

/// Connects to the node's workload, under locks.
fn open(context: &Context, node: &NodeName, scope: ScopeOf) -> Result<(Work, Locks), Failure> {
    let project = &context.project;
    project.refuse_in_move(Command::Drain)?;
    let cluster = project.load()?.cluster;
    let found = cluster.nodes.get(node);
    let locked = |work: fn(&Context, &Cluster, &Connector) -> Work| {
        let connector = connect::connector(context, &cluster, None)?;
        let locks = Locks::new(context, run_id(context), &connector);
        locks.hold(&scope(&cluster, &project.state()?, node), &BTreeMap::new())?;
        Ok((work(context, &cluster, &connector), locks))
    };
    if found.is_some_and(|node| cluster.runs_mesh(node)) {
        return locked(|_, cluster, connector| Work::Instances(Instances::new(cluster, connector)));
    }
    if found.is_some_and(|node| cluster.runs_kubernetes(node)) && cluster.orchestrator == Some(Orchestrator::Kubernetes)
    {
        return locked(|context, cluster, connector| Work::Pods(Pods::new(context, cluster, connector)));
    }
    if cluster.orchestrator == Some(Orchestrator::K3s) {
        return Err(kubernetes::missing(&cluster, &format!("{node} works on"), |server| {
            format!("`ssh {server} k3s kubectl drain {node} --ignore-daemonsets`, later `uncordon {node}`")
        }));
    }
    let what = format!("{node} is no node of a Kubernetes or of a mesh that machines.nix describes");
    Err(Failure::new(Kind::Input, what).hint("`machinist status` has the names of all nodes"))
}
