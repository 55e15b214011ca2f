//! Place of a cluster's rehearsal on this computer: its lock, its sandbox and its temporary directory. A rehearsal that
//! was killed or kept is removed by the next one.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use machinist_sandbox as sandbox;
use rustix::fs::{FlockOperation, flock};

use super::machines::label;
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    files,
    sandbox::failed,
};

/// Directory of all rehearsals on this computer.
const ROOT: &str = "/var/lib/machinist/rehearsal";

/// The place of a cluster's rehearsal, locked.
pub struct Place {
    label: String,
    state: PathBuf,
    _lock: File,
}

impl Place {
    /// Locks the place of the cluster.
    ///
    /// # Errors
    /// The caller is not root, or another rehearsal of a cluster of this name runs.
    pub fn lock(cluster: &str) -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            let failure = Failure::new(Kind::Failed, "a rehearsal needs root to create namespaces and mounts");
            return Err(failure.hint("run it with sudo, or as root"));
        }
        let label = label(cluster);
        let state = Path::new(ROOT).join(&label);
        // Private: the machines have keys, even though these are worth nothing elsewhere.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&state).failed()?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(state.join("lock")).failed()?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { label, state, _lock: lock }),
            Err(_) => Err(Failure::new(Kind::Refused, format!("another rehearsal of {cluster} runs on this computer"))
                .hint("wait for its end; the two would have the same addresses")),
        }
    }

    /// Returns the state directory of the machines' sandbox.
    pub fn sandbox(&self) -> PathBuf {
        self.state.join("sandbox")
    }

    /// Returns the network namespace from which the machines are reached.
    pub fn operator_namespace(&self) -> Option<PathBuf> {
        sandbox::status(&self.sandbox()).ok().map(|status| status.operator_namespace)
    }

    /// Creates the temporary directory. It is recorded first, so that the next rehearsal finds it.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn directory(&self) -> Result<PathBuf, Failure> {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("machinist-{}-{}-{moment:x}", self.label, process::id());
        let directory = env::temp_dir().join(name);
        files::write(&self.record(), &directory.display().to_string()).failed()?;
        // Fails if it exists: somebody else made it.
        fs::DirBuilder::new().mode(0o700).create(&directory).failed()?;
        Ok(directory)
    }

    /// Removes machines and directory of this rehearsal, or of an earlier one. Returns true if there was one.
    ///
    /// # Errors
    /// A machine or the directory cannot be removed.
    pub fn clear(&self, context: &Context) -> Result<bool, Failure> {
        let sandbox = self.sandbox();
        let mut found = sandbox.exists();
        sandbox::down(&sandbox, &|event| context.events.sandbox(&event)).map_err(|error| failed(&error))?;
        if let Some(directory) = files::read_optional(&self.record()).failed()? {
            found = true;
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).failed(),
                _ => files::remove(&self.record()).failed()?,
            }
        }
        Ok(found)
    }

    fn record(&self) -> PathBuf {
        self.state.join("directory")
    }
}
