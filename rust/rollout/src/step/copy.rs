//! Copy of a closure into the host's store: one query for its missing paths, then one stream of those.
//!
//! The format of `nix-store --export`, read by `nix-store --import` over the existing connection, needs no second
//! connection and no round trip for each path. nix's data about the paths is queried once for all hosts.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use machinist_nix::{Export, Nix, NixError, PathInfo, StorePath};
use machinist_remote::{Remote, Request};
use sha2::{Digest, Sha256};

use super::StepError;
use crate::{script, text::mebibytes};

/// Prints which of the paths on stdin the store does not have. An exclamation mark precedes paths that are not on the
/// disk although the store's database has them: they were removed behind nix's back.
pub const MISSING: &str = "\
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
paths=$(grep -xE '/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+')
printf '%s\\n' \"$paths\" | xargs nix-store --check-validity --print-invalid || exit
for path in $paths; do
  [ -e \"$path\" ] || [ -L \"$path\" ] || printf '!%s\\n' \"$path\"
done
";

/// Time limit of a complete copy. Paths that have arrived by then stay, and the next run sends the rest.
const BOUND: Duration = Duration::from_secs(3600);

/// Disk space that must stay free beside the copied paths, in bytes: the store's database and the activation need some.
const SPARE: u64 = 32 * 1024 * 1024;

/// Paths that a copy will send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The paths that are missing on the host, references first.
    pub paths: Vec<Arc<PathInfo>>,
    /// Their total size in bytes.
    pub bytes: u64,
}

/// The local store's data about the closures of some systems.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// References come before the paths that refer to them.
    paths: Vec<Arc<PathInfo>>,
}

impl Catalog {
    /// Queries nix, with two processes for any number of systems.
    ///
    /// # Errors
    /// A system is not in the local store.
    pub fn read(nix: &Nix, systems: &BTreeSet<StorePath>) -> Result<Self, NixError> {
        if systems.is_empty() {
            return Ok(Self::default());
        }
        let systems: Vec<StorePath> = systems.iter().cloned().collect();
        let paths = nix.infos(&nix.closure(&systems)?)?;
        Ok(Self { paths: paths.into_iter().map(Arc::new).collect() })
    }

    /// Returns the closure of one of the systems, references first.
    #[must_use]
    pub fn closure(&self, system: &StorePath) -> Vec<Arc<PathInfo>> {
        let mut wanted = BTreeSet::from([system]);
        // In reverse order, each path comes after all paths that refer to it.
        for info in self.paths.iter().rev() {
            if wanted.contains(&info.path) {
                wanted.extend(&info.references);
            }
        }
        self.paths.iter().filter(|info| wanted.contains(&info.path)).cloned().collect()
    }
}

/// Returns the bytes that must be free on the host for the copy.
#[must_use]
pub const fn room_for(delta: &Delta) -> u64 {
    delta.bytes + SPARE
}

/// Checks that the host has disk space for the missing paths, if its free space is known.
///
/// # Errors
/// The free space is too small.
pub fn check_room(delta: &Delta, free: Option<u64>) -> Result<(), StepError> {
    match free {
        Some(free) if !delta.paths.is_empty() && free < room_for(delta) => {
            Err(StepError::Full { free, needed: room_for(delta) })
        }
        _ => Ok(()),
    }
}

/// Queries the host for the missing paths of the closure.
///
/// # Errors
/// The connection fails, or a path that the host's store database lists is not on its disk.
pub fn delta(remote: &dyn Remote, closure: &[Arc<PathInfo>]) -> Result<Delta, StepError> {
    let listing: String = closure.iter().map(|info| format!("{}\n", info.path)).collect();
    let request = Request::new("ask for missing paths", MISSING).bytes(listing.into_bytes());
    let output = remote.run_checked(request.timeout(Duration::from_secs(120)))?;
    let text = output.stdout_text();
    let missing: BTreeSet<&str> = text.lines().map(str::trim).collect();
    let lost = missing.iter().filter_map(|line| line.strip_prefix('!')).find(|path| !missing.contains(path));
    if let Some(path) = lost {
        return Err(StepError::Corrupt { path: path.to_owned() });
    }
    let paths: Vec<Arc<PathInfo>> =
        closure.iter().filter(|info| missing.contains(info.path.as_str())).cloned().collect();
    let bytes = paths.iter().map(|info| info.size).sum();
    Ok(Delta { paths, bytes })
}

/// Checks that the host already has the complete system: a path is valid only if all its references are.
///
/// # Errors
/// The connection fails, or the host no longer has the system.
pub fn require(remote: &dyn Remote, system: &StorePath) -> Result<(), StepError> {
    let request = Request::new("look for the system", MISSING).bytes(format!("{system}\n").into_bytes());
    let output = remote.run_checked(request.timeout(Duration::from_secs(30)))?;
    match output.stdout_text().trim() {
        "" => return Ok(()),
        text if text.starts_with('!') => return Err(StepError::Corrupt { path: system.to_string() }),
        _ => {}
    }
    let hint = "check out the commit that it was built from, and deploy that".to_owned();
    Err(StepError::Lacks { what: format!("{system}: it was removed by garbage collection"), hint })
}

/// Result of a transfer to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Output of the host's script.
    pub answer: String,
    /// SHA-256 digest of the stream, in hexadecimal.
    pub digest: String,
    /// Length of the stream in bytes.
    pub bytes: u64,
}

/// Sends the paths. `progress` is called with the bytes sent so far, and cancels the copy by returning false.
///
/// # Errors
/// A path is damaged in the local store, the connection breaks, or the import fails. Paths that have arrived completely
/// stay and are not sent again.
pub fn send(
    remote: &dyn Remote,
    paths: &[Arc<PathInfo>],
    progress: impl FnMut(u64) -> bool + Send + 'static,
) -> Result<Sent, StepError> {
    send_to(remote, script::IMPORT, paths, progress)
}

/// Does the same, with another script that reads an export and imports it.
pub(crate) fn send_to(
    remote: &dyn Remote,
    script: &str,
    paths: &[Arc<PathInfo>],
    progress: impl FnMut(u64) -> bool + Send + 'static,
) -> Result<Sent, StepError> {
    let mut export = Export::start(paths.to_vec())?;
    let Some(stream) = export.take_stream() else {
        return Err(StepError::Unknown { why: "the export has no stream".to_owned() });
    };
    let label = format!("import {} paths ({})", paths.len(), mebibytes(paths.iter().map(|info| info.size).sum()));
    let state = Arc::new(Mutex::new((Sha256::new(), 0)));
    let counted = Counted { inner: stream, state: Arc::clone(&state), progress };
    let imported = remote.run_checked(Request::new(label, script).reader(counted).timeout(BOUND));
    // If both failed, a damaged local path is the cause: the import then only saw its input end.
    export.finish()?;
    let answer = imported?.stdout_text();
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let digest = state.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sent { answer, digest, bytes: state.1 })
}

struct Counted<R, F> {
    inner: R,
    state: Arc<Mutex<(Sha256, u64)>>,
    progress: F,
}

impl<R: Read, F: FnMut(u64) -> bool> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let sent = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0.update(&buffer[..count]);
            state.1 += count as u64;
            state.1
        };
        if (self.progress)(sent) { Ok(count) } else { Err(io::Error::other("the run was stopped")) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use machinist_nix::{PathInfo, StorePath};
    use machinist_remote::FakeRemote;

    use super::delta;

    fn info(name: &str) -> Arc<PathInfo> {
        let path = StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap();
        Arc::new(PathInfo { path, digest: String::new(), size: 7, deriver: None, references: Vec::new() })
    }

    #[test]
    fn only_store_paths_reach_the_store() {
        use std::{
            io::Write as _,
            process::{Command, Stdio},
        };
        let script = super::MISSING.replace("xargs nix-store", "xargs printf '<%s>'");
        let mut child =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let path = info("a-1.0+b").path.to_string();
        let sent = format!("--option\n{path} --add-root\n{path}/bin\n'{path}'\n{path}\n-x {path}\n../x\n");
        child.stdin.take().unwrap().write_all(sent.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, format!("<--check-validity><--print-invalid><{path}>!{path}\n"));
    }

    #[test]
    fn a_path_that_the_host_never_had_is_sent_and_one_that_it_has_lost_is_named() {
        let closure = [info("a"), info("b")];
        let path = closure[1].path.to_string();
        let answer = |text: &str| FakeRemote::new("host").answer("missing paths", 0, text, "");
        let lacks = delta(&answer(&format!("{path}\n!{path}\n")), &closure).unwrap();
        assert_eq!((lacks.paths.len(), lacks.bytes), (1, 7));
        let error = delta(&answer(&format!("!{path}\n")), &closure).unwrap_err();
        assert!(error.to_string().contains(&path) && error.hint().unwrap().contains("nix-store --restore"), "{error}");
    }
}
