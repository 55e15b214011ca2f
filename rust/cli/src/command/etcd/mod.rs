//! `machinist etcd`: the members as etcd itself sees them, its data, its upkeep, and its return from a snapshot.

mod access;
mod data;
mod members;
mod restore;
mod snapshots;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use machinist_operations::{
    connect,
    locks::Locks,
    rollout::{options::Options, target::voters},
    run_id::run_id,
};

use self::access::Etcd;
use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Asks etcd.
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// List the members as etcd itself has them
    Members,
    /// How large the data of each member is, what it runs, and how far it is
    Status,
    /// Print what a key holds
    Get(data::GetArgs),
    /// List keys
    Ls(data::LsArgs),
    /// Print each change of keys as it happens
    Watch(data::WatchArgs),
    /// Write a verified snapshot of etcd's data to a file, encrypted to the operators
    Snapshot(SnapshotArgs),
    /// List the snapshots that the members took by themselves
    Snapshots,
    /// Bring etcd back from a snapshot, on all members
    Restore(Box<restore::RestoreArgs>),
    /// Defragment one member after the other; after a quota alarm, compact the history before and disarm the alarm after
    Defrag,
    /// Hand the leadership to another member
    MoveLeader(upkeep::MoveLeaderArgs),
}

/// Where the snapshot goes.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The file; `age --decrypt` opens it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub fn run(command: &EtcdCommand, global: &Global, ui: Ui) -> Outcome {
    let options = match command {
        EtcdCommand::Restore(args) => args.options(),
        _ => Options::default(),
    };
    let context = context::of_rollout("etcd restore", options.reboots, global, ui)?;
    let cluster = context.project.load()?.cluster;
    let connector = connect::connector(&context, &cluster, options.accept_host_key)?;
    if voters(&cluster).is_empty() {
        return Err(Failure::new(Kind::Input, "machines.nix gives no machine the role \"etcd\""));
    }
    let locks = Locks::new(&context, run_id(&context), &connector);
    let etcd = Etcd { context, cluster, connector, locks, global, ui };
    match command {
        EtcdCommand::Members => etcd.members(),
        EtcdCommand::Status => etcd.status(),
        EtcdCommand::Get(args) => etcd.get(args),
        EtcdCommand::Ls(args) => etcd.ls(args),
        EtcdCommand::Watch(args) => etcd.watch(args),
        EtcdCommand::Snapshot(args) => etcd.snapshot(&args.file),
        EtcdCommand::Snapshots => etcd.snapshots(),
        EtcdCommand::Restore(args) => etcd.restore(args),
        EtcdCommand::Defrag => etcd.defragment(),
        EtcdCommand::MoveLeader(args) => etcd.move_leader(args),
    }
}
