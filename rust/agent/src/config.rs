//! What the agent is told: one file that the NixOS module writes.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// The directory with a file for each application that shall run here.
    #[serde(default = "applications")]
    pub applications: PathBuf,
    /// The directory with a file for each instance of them that was started.
    #[serde(default = "started")]
    pub started: PathBuf,
    /// Where the last good state is kept.
    pub state_directory: PathBuf,
    /// Directory of the agent's own socket, and of what it lays out for units of root.
    pub runtime_directory: PathBuf,
    /// Directory of haproxy's sockets, which belongs to haproxy.
    pub haproxy_directory: PathBuf,
    /// The program that checks configurations.
    pub haproxy: PathBuf,
    /// A template in the place of the built-in one.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// Templates of more files with the routing, by the file's name.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
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

    /// The directory with more files of the routing.
    pub fn files_directory(&self) -> PathBuf {
        self.runtime_directory.join("files")
    }

    /// The file with the variables of all consumers.
    pub fn environment_file(&self) -> PathBuf {
        self.runtime_directory.join("environment.json")
    }

    /// The socket that takes haproxy's runtime commands.
    pub fn haproxy_socket(&self) -> PathBuf {
        self.haproxy_directory.join("haproxy.sock")
    }

    /// The socket of haproxy's master process, which reloads.
    pub fn master_socket(&self) -> PathBuf {
        self.haproxy_directory.join("haproxy-master.sock")
    }

    /// The agent's own socket.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_directory.join("agent.sock")
    }

    /// Reads the files of the instances. One that says nothing is left out, and the rest goes on. Of an application that was
    /// taken off the node, what had been started is left out too.
    pub fn local_instances(&self) -> (Vec<LocalInstance>, Vec<ConfigError>) {
        let (mut instances, mut errors) = (Vec::new(), Vec::new());
        let shall_run =
            |instance: &LocalInstance| self.applications.join(format!("{}.json", instance.key.app)).exists();
        let started = files(&self.started);
        for path in files(&self.instances).iter().chain(&started) {
            let instance = read(path).and_then(|bytes| {
                let instance = LocalInstance::read(&self.node, &bytes);
                instance.map_err(|source| ConfigError::Instance { path: path.clone(), source })
            });
            match instance {
                Ok(instance) if path.starts_with(&self.started) && !shall_run(&instance) => {}
                Ok(instance) => instances.push(instance),
                Err(error) => errors.push(error),
            }
        }
        (instances, errors)
    }
}

fn applications() -> PathBuf {
    PathBuf::from("/etc/machinist/apps")
}

fn started() -> PathBuf {
    PathBuf::from("/run/machinist-apps")
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::Config;

    #[test]
    fn what_was_started_counts_while_its_application_shall_run() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["instances", "applications", "started"] {
            fs::create_dir(at(name)).unwrap();
        }
        let config: Config = serde_json::from_value(serde_json::json!({
            "node": "w1", "endpoints": [], "ca": "", "certificate": "", "key": "", "groups": [], "leaseSeconds": 10,
            "instances": at("instances"), "applications": at("applications"), "started": at("started"),
            "stateDirectory": "", "runtimeDirectory": "", "haproxyDirectory": "", "haproxy": "", "maxconn": 1, "listen": "127.0.0.1:9470",
        }))
        .unwrap();
        let instance = |name: &str, app: &str| {
            let text = r#"{"name":"NAME","app":"APP","group":"services","address":"10.0.0.1","port":1,"publish":{"port":1},"weight":1}"#;
            text.replace("NAME", name).replace("APP", app)
        };
        fs::write(at("instances/db.json"), instance("db", "db")).unwrap();
        fs::write(at("started/web-b.json"), instance("web-b", "web")).unwrap();
        fs::write(at("started/gone-a.json"), instance("gone-a", "gone")).unwrap();
        fs::write(at("applications/web.json"), "{}").unwrap();
        let names = || -> Vec<String> {
            let (instances, errors) = config.local_instances();
            assert!(errors.is_empty(), "{errors:?}");
            instances.iter().map(|instance| instance.name.to_string()).collect()
        };
        assert_eq!(names(), ["db", "web-b"]);
        fs::remove_file(at("applications/web.json")).unwrap();
        assert_eq!(names(), ["db"]);
    }
}
