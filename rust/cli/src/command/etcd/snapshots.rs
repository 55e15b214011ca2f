//! Snapshots: taken now, and those that members took by themselves.

use std::{
    fs,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use indicatif::HumanBytes;
use machinist_etcd::upkeep::Kept;
use machinist_model::{Cluster, NodeName};
use machinist_rollout::{
    membership::{self, Voice},
    step::StepError,
    upkeep,
};
use machinist_secrets::{Recipients, encrypt_to};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Etcd;
use crate::{
    command::deploy::voters,
    failure::{self, Failure, Kind, OrFail, Outcome},
};

impl Etcd<'_> {
    /// Takes a snapshot now.
    pub fn snapshot(&self, file: &Path) -> Outcome {
        let voice = self.voice()?;
        let bytes = snapshot(&self.cluster, &voice, file)?;
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({ "file": file, "bytes": bytes, "member": voice.node }));
        } else {
            let file = file.display();
            self.ui.result(&format!("{file}: {bytes} bytes, taken from {}, encrypted to the operators", voice.node));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Lists those on the members' disks.
    pub fn snapshots(&self) -> Outcome {
        let (kept, silent) = self.kept();
        for (node, error) in &silent {
            self.ui.warn(&format!("{node}: {}", failure::words(node, error)));
        }
        if self.ui.json {
            self.ui.result_json(&serde_json::json!({ "snapshots": kept }));
        } else if kept.is_empty() {
            self.ui
                .story("no member that answers has a snapshot (`systemctl list-timers machinist-etcd-snapshot` there)");
        } else {
            let cells = |kept: &Kept| {
                vec![time(kept.taken), HumanBytes(kept.bytes).to_string(), format!("{}:{}", kept.node, kept.path)]
            };
            self.ui.result_table(&["TAKEN", "SIZE", "WHERE"], kept.iter().map(cells).collect());
        }
        Ok(if silent.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
    }

    /// Those on the disks of the members that answer, newest first, and who does not answer.
    pub fn kept(&self) -> (Vec<Kept>, Vec<(NodeName, StepError)>) {
        let (mut kept, mut silent) = (Vec::new(), Vec::new());
        for node in voters(&self.cluster).into_keys() {
            let asked = self.connector.connect(&node).map_err(StepError::from);
            match asked.and_then(|remote| upkeep::snapshots(&*remote, &node)) {
                Ok(found) => kept.extend(found),
                Err(error) => silent.push((node, error)),
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.taken));
        (kept, silent)
    }
}

/// A time of day as people and programs read it.
pub fn time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Writes a snapshot to a new file that only its owner may read. Returns its size. A file that is not whole has another name.
pub fn snapshot(cluster: &Cluster, voice: &Voice, file: &Path) -> Result<u64, Failure> {
    if file.exists() {
        return Err(Failure::new(Kind::Input, format!("{} is there already", file.display())).hint("name another file"));
    }
    let recipients = Recipients::from_operators(&cluster.operators)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        machinist_durable::create_directories(parent).failed()?;
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
    machinist_durable::rename(&partial, file).failed()?;
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
    Ok(file.metadata().failed()?.len())
}
