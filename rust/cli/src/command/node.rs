//! `machinist node`.

mod drain;
mod readdress;
mod replace;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use machinist_model::NodeName;
use machinist_operations::{
    node::{
        membership::{self, Changed, Request},
        without_vote::What,
    },
    rollout::verdict::verdict,
};

use crate::{
    args::{Global, RolloutArgs, node_name},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Changes the voters in etcd and the addresses of nodes, and drains or uncordons nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Add a node with the role `etcd` to the running cluster, as a learner first
    Join(NodeArgs),
    /// Remove a machine that is no longer in machines.nix from the running cluster's etcd: its vote, or its permissions
    Remove(NodeArgs),
    /// Let a member join again with empty data, on the same machine or on a new one in place of one that is gone
    Replace(replace::ReplaceArgs),
    /// Move a running node to the address that machines.nix gives it, in steps that keep etcd's quorum
    Readdress(readdress::ReaddressArgs),
    /// Evict a node's pods of Kubernetes, or remove its instances from the mesh, before maintenance
    Drain(drain::DrainArgs),
    /// Allow pods, or connections to its instances, on a node again
    Uncordon(drain::UncordonArgs),
}

/// Arguments shared by changes of membership.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Continue without a snapshot of etcd's data
    #[arg(long)]
    no_snapshot: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(command: &NodeCommand, global: &Global, ui: Ui) -> Outcome {
    match command {
        NodeCommand::Join(args) => change(What::Join, args, global, ui),
        NodeCommand::Remove(args) => change(What::Remove, args, global, ui),
        NodeCommand::Replace(args) => replace::run(args, global, ui),
        NodeCommand::Readdress(args) => readdress::run(args, global, ui),
        NodeCommand::Drain(args) => drain::drain(args, global, ui),
        NodeCommand::Uncordon(args) => drain::uncordon(args, global, ui),
    }
}

fn change(what: What, args: &NodeArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let options = args.rollout.options();
    let context = context::of_rollout("deploy", options.reboots, global, ui)?;
    let request = Request { what, node: args.node.clone(), no_snapshot: args.no_snapshot, options };
    match membership::run(&context, &request)? {
        Changed::NotDone { report } => return Ok(exit_code(verdict(&report))),
        Changed::OneOfSeveral { .. } | Changed::Forgotten | Changed::Left => {}
        Changed::Done { what, members } => tell(&args.node, what, &members, begun.elapsed(), ui),
    }
    Ok(exit_code(None))
}

fn tell(node: &NodeName, what: &str, members: &BTreeSet<NodeName>, took: Duration, ui: Ui) {
    if ui.json {
        ui.result_json_line(&serde_json::json!({ "event": "report", "node": node, "members": members }));
        return;
    }
    let members: Vec<&str> = members.iter().map(NodeName::as_str).collect();
    let seconds = took.as_secs_f64();
    ui.result(&format!("{node} {what}; the members of etcd are {} ({seconds:.1} s)", members.join(", ")));
    ui.story("commit state/cluster.json and generated/");
}
