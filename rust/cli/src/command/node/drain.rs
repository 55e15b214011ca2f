//! What a node works on: away before it goes down, and back afterwards. Pods of Kubernetes, or instances of the service mesh.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use machinist_kubernetes::drain::{Allowed, Unmanaged};
use machinist_model::{Cluster, NodeName, Orchestrator, RecordedState};
use machinist_operations::{
    connect,
    context::Context,
    kubernetes,
    locks::{self, Locks},
    run_id::run_id,
    workload::{instances::Instances, pods::Pods},
};
use machinist_rollout::{lock::Scope, step::Connector};

use crate::{
    args::{Global, node_name},
    context,
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Which node, and what may be lost.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Seconds that its pods, or the connections to its instances, may take to go away
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,

    /// Evict pods too that nobody makes anew
    #[arg(long)]
    delete_unmanaged_pods: bool,

    /// Evict pods too that lose what is in their emptyDir volumes
    #[arg(long)]
    delete_local_data: bool,
}

/// Which node.
#[derive(Debug, Args)]
pub struct UncordonArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,
}

/// What runs on the node.
enum Work {
    Pods(Pods),
    Instances(Instances),
}

/// What has to be locked.
type ScopeOf = fn(&Cluster, &RecordedState, &NodeName) -> Scope;

/// Opens what runs on the node, under locks.
fn open(context: &Context, node: &NodeName, scope: ScopeOf) -> Result<(Work, Locks), Failure> {
    let project = &context.project;
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

/// Drains a node.
pub fn drain(args: &DrainArgs, global: &Global, ui: Ui) -> Outcome {
    let node = &args.node;
    let bound = Duration::from_secs(args.timeout);
    let (work, _locks) = open(&context::open(global, ui)?, node, locks::of_leaving)?;
    match work {
        Work::Pods(pods) => {
            let unmanaged = if args.delete_unmanaged_pods { Unmanaged::Evict } else { Unmanaged::Refuse };
            let allowed = Allowed { unmanaged, local_data: args.delete_local_data };
            let tell = |text: &str| ui.story(&format!("{node} {text}"));
            let evicted = pods.drain(node, allowed, bound, &tell)?;
            let done = format!("{node} takes no new pods, {evicted} were evicted");
            say(ui, &serde_json::json!({ "node": node, "evicted": evicted }), &done);
            if !ui.json {
                ui.story(&format!("`machinist node uncordon {node}` lets pods onto it again"));
            }
        }
        Work::Instances(instances) => {
            let out = instances.drain(node, bound)?;
            let done = match &*out {
                [] => format!("{node} has no instances"),
                out => format!("{node} takes no new connections for {}", out.join(", ")),
            };
            say(ui, &serde_json::json!({ "node": node, "drained": out }), &done);
            if !ui.json && !out.is_empty() {
                ui.story(&format!("`machinist node uncordon {node}`, or its next boot, puts them into the mesh again"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets pods, or connections to its instances, onto a node again.
pub fn uncordon(args: &UncordonArgs, global: &Global, ui: Ui) -> Outcome {
    let node = &args.node;
    let (work, _locks) = open(&context::open(global, ui)?, node, locks::of_node)?;
    match work {
        Work::Pods(pods) => {
            pods.uncordon(node, false)?;
            say(ui, &serde_json::json!({ "node": node, "schedulable": true }), &format!("{node} takes pods again"));
        }
        Work::Instances(instances) => {
            let back = instances.undrain(node)?;
            let done = match &*back {
                [] => format!("{node} has no instances"),
                back => format!("{node} takes connections again for {}", back.join(", ")),
            };
            say(ui, &serde_json::json!({ "node": node, "undrained": back }), &done);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(ui: Ui, json: &serde_json::Value, text: &str) {
    if ui.json {
        ui.result_json(json);
    } else {
        ui.result(text);
    }
}
