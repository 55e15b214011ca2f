//! `machinist etcd`.

mod data;
mod members;
mod restore;
mod snapshots;
mod upkeep;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{args::Global, context, failure::Outcome, ui::Ui};

/// Queries and maintains etcd.
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// List the members that etcd itself reports
    Members,
    /// Show the version, size and applied index of each member, and alarms
    Status,
    /// Print the value of a key
    Get(data::GetArgs),
    /// List keys
    Ls(data::LsArgs),
    /// Print each change of keys as it happens
    Watch(data::WatchArgs),
    /// Write a verified snapshot of etcd's data to a file, encrypted to the operators
    Snapshot(SnapshotArgs),
    /// List the snapshots that the members took on schedule
    Snapshots,
    /// Restore etcd from a snapshot, on all members
    Restore(Box<restore::RestoreArgs>),
    /// Defragment one member after the other; after a quota alarm, compact the history before and disarm the alarm after
    Defrag,
    /// Compare the members that etcd reports with those in the data of each member, which a newer etcd starts with
    Verify(verify::VerifyArgs),
    /// Hand the leadership to another member
    MoveLeader(upkeep::MoveLeaderArgs),
}

/// Arguments of `etcd snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// The file; `age --decrypt` opens it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub fn run(command: &EtcdCommand, global: &Global, ui: Ui) -> Outcome {
    if let EtcdCommand::Restore(args) = command {
        return restore::run(args, global, ui);
    }
    let context = context::open(global, ui)?;
    match command {
        EtcdCommand::Members => members::list(&context, ui),
        EtcdCommand::Status => members::status(&context, ui),
        EtcdCommand::Get(args) => data::get(args, &context, ui),
        EtcdCommand::Ls(args) => data::ls(args, &context, ui),
        EtcdCommand::Watch(args) => data::watch(args, &context, ui),
        EtcdCommand::Snapshot(args) => snapshots::take(&args.file, &context, ui),
        EtcdCommand::Snapshots => snapshots::list(&context, ui),
        EtcdCommand::Restore(args) => restore::run(args, global, ui),
        EtcdCommand::Defrag => upkeep::defragment(&context, ui),
        EtcdCommand::Verify(args) => verify::verify(args, &context, ui),
        EtcdCommand::MoveLeader(args) => upkeep::move_leader(args, &context, ui),
    }
}
