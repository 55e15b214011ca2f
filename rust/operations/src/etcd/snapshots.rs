//! Snapshots of etcd: taken on request, and taken by the members on their own schedule.

use std::path::Path;

use machinist_etcd::upkeep::Kept;
use machinist_model::NodeName;
use machinist_rollout::{step::StepError, upkeep};

use super::session::Session;
use crate::{
    context::Context,
    failure::{self, Failure},
    rollout::target::voters,
    snapshot::snapshot,
};

/// Snapshot in a file.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Size, in bytes.
    pub bytes: u64,
    /// Name of the member that it was taken from.
    pub member: NodeName,
}

/// Takes a snapshot into a new file, encrypted to the operators.
///
/// # Errors
/// The file exists or cannot be written, or no member answers.
pub fn take(context: &Context, file: &Path) -> Result<Taken, Failure> {
    let session = Session::open(context, None)?;
    let voice = session.voice()?;
    let bytes = snapshot(&session.cluster, &voice, file)?;
    Ok(Taken { bytes, member: voice.node })
}

/// Snapshots on the disks of members.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The snapshots, newest first.
    pub snapshots: Vec<Kept>,
    /// Number of members that did not answer.
    pub silent: usize,
}

/// Lists the snapshots on the members' disks. A member that does not answer is a warning.
///
/// # Errors
/// The cluster's files are invalid.
pub fn list(context: &Context) -> Result<Listing, Failure> {
    let session = Session::open(context, None)?;
    let (snapshots, silent) = session.snapshots();
    for (node, error) in &silent {
        context.events.warn(format!("{node}: {}", failure::words(node, error)));
    }
    Ok(Listing { snapshots, silent: silent.len() })
}

impl Session<'_> {
    /// Returns the snapshots on the disks of the members that answer, newest first, and the members that do not answer.
    pub(super) fn snapshots(&self) -> (Vec<Kept>, Vec<(NodeName, StepError)>) {
        let mut kept = Vec::new();
        let mut silent = Vec::new();
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
