//! `machinist node drain` and `machinist node uncordon`.

use std::time::Duration;

use clap::Args;
use machinist_kubernetes::drain::{Allowed, Unmanaged};
use machinist_model::NodeName;
use machinist_operations::node::drain::{self, Moved, Request};

use crate::{
    args::{Global, node_name},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `node drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Time to wait for its pods, or the connections to its instances, to finish, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,

    /// Also evict pods without a controller, which are not recreated
    #[arg(long)]
    delete_unmanaged_pods: bool,

    /// Also evict pods that lose the data of their emptyDir volumes
    #[arg(long)]
    delete_local_data: bool,
}

/// Arguments of `node uncordon`.
#[derive(Debug, Args)]
pub struct UncordonArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,
}

/// Runs `node drain`.
pub fn drain(args: &DrainArgs, global: &Global, ui: Ui) -> Outcome {
    let node = &args.node;
    let unmanaged = if args.delete_unmanaged_pods { Unmanaged::Evict } else { Unmanaged::Refuse };
    let request = Request {
        node: node.clone(),
        bound: Duration::from_secs(args.timeout),
        allowed: Allowed { unmanaged, local_data: args.delete_local_data },
    };
    match drain::drain(&context::open(global, ui)?, &request)? {
        Moved::Pods { evicted } => {
            let done = format!("{node} takes no new pods, {evicted} were evicted");
            say(ui, &serde_json::json!({ "node": node, "evicted": evicted }), &done);
            if !ui.json {
                ui.story(&format!("`machinist node uncordon {node}` lets pods onto it again"));
            }
        }
        Moved::Instances { names } => {
            let done = match &*names {
                [] => format!("{node} has no instances"),
                names => format!("{node} takes no new connections for {}", names.join(", ")),
            };
            say(ui, &serde_json::json!({ "node": node, "drained": names }), &done);
            if !ui.json && !names.is_empty() {
                ui.story(&format!("`machinist node uncordon {node}`, or its next boot, puts them into the mesh again"));
            }
        }
    }
    Ok(exit_code(None))
}

/// Runs `node uncordon`.
pub fn uncordon(args: &UncordonArgs, global: &Global, ui: Ui) -> Outcome {
    let node = &args.node;
    match drain::uncordon(&context::open(global, ui)?, node)? {
        Moved::Pods { .. } => {
            say(ui, &serde_json::json!({ "node": node, "schedulable": true }), &format!("{node} takes pods again"));
        }
        Moved::Instances { names } => {
            let done = match &*names {
                [] => format!("{node} has no instances"),
                names => format!("{node} takes connections again for {}", names.join(", ")),
            };
            say(ui, &serde_json::json!({ "node": node, "undrained": names }), &done);
        }
    }
    Ok(exit_code(None))
}

fn say(ui: Ui, json: &serde_json::Value, text: &str) {
    if ui.json {
        ui.result_json(json);
    } else {
        ui.result(text);
    }
}
