//! What the agent is told: one file that the NixOS module writes.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use machinist_mesh::{Group, LocalInstance, LocalInstanceError, Name};
use serde::Deserialize;
use thiserror::Error;

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The node's name.
    pub node: Name,
    /// The client URLs of etcd's members.
    pub endpoints: Vec<String>,
    /// The certificate of etcd's authority, PEM.
    pub ca: PathBuf,
    /// The agent's certificate, PEM.
    pub certificate: PathBuf,
    /// The agent's private key, PEM.
    pub key: PathBuf,
    /// The groups that the node reaches.
    pub groups: BTreeSet<Group>,
    /// How long the node's instances stay in the mesh without a sign of life, in seconds.
    pub lease_seconds: i64,
    /// The directory with a file an instance.
    pub instances: PathBuf,
    /// Where the last good state is kept.
    pub state_directory: PathBuf,
    /// Where sockets are, and the consumers' environment files.
    pub runtime_directory: PathBuf,
    /// The program that checks configurations.
    pub haproxy: PathBuf,
    /// A template in the place of the built-in one.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// How many connections haproxy takes at once.
    pub maxconn: u32,
    /// Where metrics and health are served, on loopback.
    pub listen: SocketAddr,
}

/// Why a file of the node cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not of the shape.
    #[error("{} is not the agent's configuration", path.display())]
    Shape {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// An instance's file says nothing.
    #[error("{} says nothing", path.display())]
    Instance {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: LocalInstanceError,
    },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not of the shape.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        serde_json::from_slice(&bytes).map_err(|source| ConfigError::Shape { path: path.to_owned(), source })
    }

    /// The file with the configuration of haproxy.
    pub fn haproxy_file(&self) -> PathBuf {
        self.state_directory.join("haproxy.cfg")
    }

    /// The file with what was in etcd last.
    pub fn state_file(&self) -> PathBuf {
        self.state_directory.join("state.jsonl")
    }

    /// The socket that takes haproxy's runtime commands.
    pub fn haproxy_socket(&self) -> PathBuf {
        self.runtime_directory.join("haproxy.sock")
    }

    /// The socket of haproxy's master process, which reloads.
    pub fn master_socket(&self) -> PathBuf {
        self.runtime_directory.join("haproxy-master.sock")
    }

    /// The agent's own socket.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_directory.join("agent.sock")
    }

    /// Reads the files of the instances. One that says nothing is left out, and the rest goes on.
    pub fn local_instances(&self) -> (Vec<LocalInstance>, Vec<ConfigError>) {
        let (mut instances, mut errors) = (Vec::new(), Vec::new());
        for path in files(&self.instances) {
            let instance = read(&path).and_then(|bytes| {
                let instance = LocalInstance::read(&self.node, &bytes);
                instance.map_err(|source| ConfigError::Instance { path: path.clone(), source })
            });
            match instance {
                Ok(instance) => instances.push(instance),
                Err(error) => errors.push(error),
            }
        }
        (instances, errors)
    }
}

/// The JSON files of a directory, sorted. A directory that does not exist has none.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}
