//! Snapshot of etcd's data in a file, encrypted to the operators.

use std::{
    fs,
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use machinist_model::Cluster;
use machinist_rollout::membership::{self, Voice};
use machinist_secrets::{Recipients, encrypt_to};

use crate::failure::{Failure, Kind, OrFail as _};

/// Writes a snapshot to a new file with mode 0600 and returns its size. An incomplete file has a different name.
///
/// # Errors
/// The file exists or cannot be written, or the member does not answer.
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
        // An incomplete file is useless.
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
