//! Brings a closure into the host's store: one question which paths it lacks, then one stream of those.
//!
//! `nix-store --export` into `nix-store --import` over the connection that is open anyway needs no second connection
//! and no round trip for each path.

use std::{
    io::{self, Read},
    time::Duration,
};

use machinist_nix::{Nix, StorePath};
use machinist_remote::{Remote, Request};

use super::{StepError, mebibytes};

/// Asks which of the paths on stdin the store lacks.
const MISSING: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
xargs nix-store --check-validity --print-invalid
";

/// Imports paths. A path that an earlier, interrupted import left half is replaced.
const IMPORT: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
nix-store --import >/dev/null
";

/// A whole copy may take this long. What has arrived by then stays, and the next run sends the rest.
const BOUND: Duration = Duration::from_secs(3600);

/// Room that must stay free beside the copied paths: the store's database and the activation need some.
const SPARE: u64 = 32 * 1024 * 1024;

/// What a copy will send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The paths that the host lacks, what a path refers to before it.
    pub paths: Vec<StorePath>,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Returns how many bytes must be free on the host for the copy.
#[must_use]
pub const fn room_for(delta: &Delta) -> u64 {
    delta.bytes + SPARE
}

/// Asks the host which paths of the closure it lacks.
///
/// # Errors
/// The connection fails, or the paths are not in the local store.
pub fn delta(nix: &Nix, remote: &dyn Remote, closure: &[StorePath]) -> Result<Delta, StepError> {
    let listing: String = closure.iter().map(|path| format!("{path}\n")).collect();
    let request = Request::new("ask for missing paths", MISSING).bytes(listing.into_bytes());
    let output = remote.run_checked(request.timeout(Duration::from_secs(120)))?;
    let text = output.stdout_text();
    let missing: std::collections::BTreeSet<&str> = text.lines().map(str::trim).collect();
    let paths: Vec<StorePath> = closure.iter().filter(|path| missing.contains(path.as_str())).cloned().collect();
    let bytes = if paths.is_empty() { 0 } else { nix.sizes(&paths)?.iter().sum() };
    Ok(Delta { paths, bytes })
}

/// Makes sure that the host has the whole system already: a path is valid only when all that it refers to is.
///
/// # Errors
/// The connection fails, or the system is not there any more.
pub fn require(remote: &dyn Remote, system: &StorePath) -> Result<(), StepError> {
    let request = Request::new("look for the system", MISSING).bytes(format!("{system}\n").into_bytes());
    let output = remote.run_checked(request.timeout(Duration::from_secs(30)))?;
    if output.stdout_text().trim().is_empty() {
        return Ok(());
    }
    let hint = "check out the commit that it was built from, and deploy that".to_owned();
    Err(StepError::Lacks { what: format!("{system}: it was removed by garbage collection"), hint })
}

/// Sends the paths. `progress` is told how many bytes went out so far, and ends the copy by returning false.
///
/// # Errors
/// There is too little room, the connection breaks, or one of the two nix programs fails. What has arrived whole stays
/// and is not sent again.
pub fn send(
    nix: &Nix,
    remote: &dyn Remote,
    delta: &Delta,
    free: Option<u64>,
    progress: impl FnMut(u64) -> bool + Send + 'static,
) -> Result<(), StepError> {
    if delta.paths.is_empty() {
        return Ok(());
    }
    if let Some(free) = free
        && free < room_for(delta)
    {
        return Err(StepError::Full { free, needed: room_for(delta) });
    }
    let mut export = nix.export(&delta.paths)?;
    let Some(stream) = export.take_stream() else {
        return Err(StepError::Unknown { why: "the export has no stream".to_owned() });
    };
    let label = format!("import {} paths ({})", delta.paths.len(), mebibytes(delta.bytes));
    let counted = Counted { inner: stream, sent: 0, progress };
    let imported = remote.run_checked(Request::new(label, IMPORT).reader(counted).timeout(BOUND));
    let exported = export.finish();
    // If both failed, the import's word is the cause: the export then only saw its reader go away.
    imported?;
    exported?;
    Ok(())
}

struct Counted<R, F> {
    inner: R,
    sent: u64,
    progress: F,
}

impl<R: Read, F: FnMut(u64) -> bool> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sent += count as u64;
        if (self.progress)(self.sent) { Ok(count) } else { Err(io::Error::other("the run was stopped")) }
    }
}
