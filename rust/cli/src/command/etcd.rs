//! `machinist etcd`: the members as etcd itself sees them, and its data.

use std::{
    fs,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use machinist_model::{Cluster, NodeName};
use machinist_rollout::membership::{self, Voice, find_voice};
use machinist_secrets::{Recipients, encrypt_to};
use serde::Serialize;

use crate::{
    args::Global,
    command::deploy::voters,
    connect,
    failure::{Failure, Kind, OrFail, Outcome},
    project::Project,
    ui::{Tone, Ui},
};

/// Asks etcd.
#[derive(Debug, Subcommand)]
pub enum EtcdCommand {
    /// List the members as etcd itself has them
    Members,
    /// Write a verified snapshot of etcd's data to a file, encrypted to the operators
    Snapshot(SnapshotArgs),
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
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let connector = connect::connector(&project, &cluster, global, None)?;
    let members = voters(&cluster);
    if members.is_empty() {
        return Err(Failure::new(Kind::Input, "machines.nix gives no machine the role \"etcd\""));
    }
    let askable: Vec<NodeName> = members.keys().cloned().collect();
    let voice = find_voice(&connector, &askable, &members, None)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    match command {
        EtcdCommand::Members => list(&cluster, &voice, ui),
        EtcdCommand::Snapshot(args) => {
            let bytes = snapshot(&cluster, &voice, &args.file)?;
            if ui.json {
                ui.result_json(&serde_json::json!({ "file": args.file, "bytes": bytes, "member": voice.node }));
            } else {
                let file = args.file.display();
                ui.result(&format!("{file}: {bytes} bytes, taken from {}, encrypted to the operators", voice.node));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    id: Option<String>,
    address: String,
    state: String,
}

fn list(cluster: &Cluster, voice: &Voice, ui: Ui) -> Outcome {
    let leader = voice.health.leader.as_ref();
    let known = voice.health.members.iter().map(|(name, member)| {
        let state = match member.problems.as_slice() {
            [] if leader == Some(name) => "healthy, leader".to_owned(),
            [] => "healthy".to_owned(),
            problems => problems.join(", "),
        };
        let address = cluster.nodes.get(name).map(|node| node.ip.to_string()).unwrap_or_default();
        Row { name: name.to_string(), id: member.id.map(hexadecimal), address, state }
    });
    let strangers = voice.health.unmanaged.iter().map(|stranger| {
        let state = if stranger.healthy { "healthy" } else { "not healthy" };
        let votes = if stranger.learner { "a learner" } else { "votes" };
        let state = format!("{state}, {votes}, machines.nix does not know it");
        let name = if stranger.name.is_empty() { "-".to_owned() } else { stranger.name.clone() };
        Row { name, id: Some(hexadecimal(stranger.id)), address: stranger.peer_urls.join(" "), state }
    });
    let rows: Vec<Row> = known.chain(strangers).collect();
    if ui.json {
        ui.result_json(&serde_json::json!({ "asked": voice.node, "members": rows }));
    } else {
        let cells = |row: &Row| {
            let tone =
                if row.state.starts_with("healthy") && !row.state.contains("know") { Tone::Good } else { Tone::Bad };
            let id = row.id.clone().unwrap_or_else(|| "-".to_owned());
            vec![row.name.clone(), id, row.address.clone(), ui.paint(tone, &row.state)]
        };
        ui.result_table(&["MEMBER", "ID", "ADDRESS", "STATE"], rows.iter().map(cells).collect());
    }
    let well = voice.health.is_whole();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn hexadecimal(id: u64) -> String {
    machinist_control_plane::membership::hexadecimal(id)
}

/// Writes a snapshot to a new file that only its owner may read. Returns its size. A file that is not whole has another name.
pub fn snapshot(cluster: &Cluster, voice: &Voice, file: &Path) -> Result<u64, Failure> {
    if file.exists() {
        return Err(Failure::new(Kind::Input, format!("{} is there already", file.display())).hint("name another file"));
    }
    let recipients = Recipients::from_operators(&cluster.operators)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).failed()?;
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let written = write(&recipients, voice, &partial);
    if written.is_err() {
        // What is left of it is of no use to anyone.
        let _gone = fs::remove_file(&partial);
    }
    let bytes = written?;
    fs::rename(&partial, file).failed()?;
    Ok(bytes)
}

fn write(recipients: &Recipients, voice: &Voice, partial: &Path) -> Result<u64, Failure> {
    let output = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial).failed()?;
    let mut sealed = encrypt_to(recipients, BufWriter::new(output)).failed()?;
    membership::snapshot(voice, &mut sealed)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    let mut output = sealed.finish().failed()?;
    output.flush().failed()?;
    let file = output.into_inner().map_err(std::io::IntoInnerError::into_error).failed()?;
    file.sync_all().failed()?;
    Ok(file.metadata().failed()?.len())
}
