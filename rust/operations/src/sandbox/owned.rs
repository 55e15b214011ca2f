//! Record of a directory's sandbox, in its private folder: `sandbox down` finds the machines although machines.nix does not
//! load any more, or has another name.

use std::{collections::BTreeSet, path::PathBuf};

use machinist_model::{Cluster, Provider};
use machinist_sandbox::{self as sandbox, default_state_dir};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Failure, Kind, OrFail as _},
    files,
    project::Project,
};

/// The sandbox that the last `up` of a directory started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owned {
    /// Name of the cluster.
    pub cluster: String,
    /// Path of the directory that started it: a copy of the directory has no say in these machines.
    directory: PathBuf,
    /// True if the cluster has no other machines: they leave no record of a running cluster.
    pub whole: bool,
}

impl Owned {
    /// Returns the record of a sandbox with the machines of this cluster.
    ///
    /// # Errors
    /// The directory's path cannot be read.
    pub(super) fn of(project: &Project, cluster: &Cluster) -> Result<Self, Failure> {
        let whole = cluster.deployable().all(|node| node.provider == Provider::Sandbox);
        Ok(Self { cluster: cluster.name.clone(), directory: path_of(project)?, whole })
    }

    fn path(project: &Project) -> PathBuf {
        project.local().join("sandbox.json")
    }

    /// Reads the record; none before the first `up`, and in a copy of the directory.
    pub(super) fn read(project: &Project) -> Result<Option<Self>, Failure> {
        let path = Self::path(project);
        let Some(text) = files::read_optional(&path).failed()? else { return Ok(None) };
        let owned: Self = serde_json::from_str(&text).map_err(|error| invalid(&path, &error.to_string()))?;
        // The name is part of a path.
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if owned.cluster.is_empty() || !owned.cluster.chars().all(is_label) {
            return Err(invalid(&path, "it names no cluster"));
        }
        let is_own = owned.directory == path_of(project)?;
        Ok(Some(owned).filter(|_| is_own))
    }

    /// Writes the record.
    pub(super) fn write(&self, project: &Project) -> Result<(), Failure> {
        std::fs::create_dir_all(project.local()).failed()?;
        let text = serde_json::to_string_pretty(self).failed()?;
        files::write(&Self::path(project), &(text + "\n")).failed()
    }

    /// Removes the record.
    pub(super) fn remove(project: &Project) -> Result<(), Failure> {
        files::remove(&Self::path(project)).failed()
    }

    /// Returns the state directory of the sandbox.
    pub(super) fn state_dir(&self) -> PathBuf {
        default_state_dir(&self.cluster)
    }

    /// Returns the addresses of its machines, with their SSH ports.
    pub(super) fn addresses(&self) -> BTreeSet<(String, u16)> {
        let machines = sandbox::status(&self.state_dir()).map(|status| status.machines).unwrap_or_default();
        machines.into_iter().map(|machine| (machine.ip.to_string(), machine.ssh_port)).collect()
    }
}

fn path_of(project: &Project) -> Result<PathBuf, Failure> {
    project.directory.canonicalize().failed()
}

fn invalid(path: &std::path::Path, why: &str) -> Failure {
    Failure::new(Kind::Failed, format!("{} is invalid: {why}", path.display()))
        .hint("remove it; `machinist sandbox up` writes it again")
}
