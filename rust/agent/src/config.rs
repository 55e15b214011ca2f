//! Configuration of the agent: one file, written by the NixOS module.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use machinist_mesh::{Group, LocalInstance, LocalInstanceError, Name};
use serde::Deserialize;
use thiserror::Error;

/// Configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of this node.
    pub node: Name,
    /// Client URLs of the etcd members.
    pub endpoints: Vec<String>,
    /// The certificate of etcd's authority, PEM.
    pub ca: PathBuf,
    /// The agent's certificate, PEM.
    pub certificate: PathBuf,
    /// The agent's private key, PEM.
    pub key: PathBuf,
    /// The groups whose services are routed on this node.
    pub groups: BTreeSet<Group>,
    /// TTL of the lease of the node's instances, in seconds.
    pub lease_seconds: i64,
    /// Directory with one file per instance.
    pub instances: PathBuf,
    /// Directory with one file per application of this node.
    #[serde(default = "applications")]
    pub applications: PathBuf,
    /// Directory with one file per started instance of these applications.
    #[serde(default = "started")]
    pub started: PathBuf,
    /// Directory of the last known state, and of haproxy's configuration.
    pub state_directory: PathBuf,
    /// Directory of the agent's own socket, and of files for units that run as root.
    pub runtime_directory: PathBuf,
    /// Directory of haproxy's sockets, which belongs to haproxy.
    pub haproxy_directory: PathBuf,
    /// haproxy, used to validate configurations.
    pub haproxy: PathBuf,
    /// Replacement of the built-in template.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// Templates of further files with the routing, by file name.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
    /// haproxy's `maxconn`: the limit of concurrent connections.
    pub maxconn: u32,
    /// Loopback address of metrics and health.
    pub listen: SocketAddr,
}

/// Error reading a file of the agent.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is unreadable.
    #[error("cannot read {}", path.display())]
    Read {
        /// Path of the configuration.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file does not parse.
    #[error("invalid configuration in {}", path.display())]
    Shape {
        /// Path of the configuration.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// An instance's file is invalid.
    #[error("invalid instance definition in {}", path.display())]
    Instance {
        /// Path of the instance's file.
        path: PathBuf,
        /// The parser's error.
        source: LocalInstanceError,
    },
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The file is unreadable or does not parse.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        serde_json::from_slice(&bytes).map_err(|source| ConfigError::Shape { path: path.to_owned(), source })
    }

    /// haproxy's configuration file.
    pub fn haproxy_file(&self) -> PathBuf {
        self.state_directory.join("haproxy.cfg")
    }

    /// File with the last known content of etcd.
    pub fn state_file(&self) -> PathBuf {
        self.state_directory.join("state.jsonl")
    }

    /// Directory of further files with the routing.
    pub fn files_directory(&self) -> PathBuf {
        self.runtime_directory.join("files")
    }

    /// File with the variables of all consumers.
    pub fn environment_file(&self) -> PathBuf {
        self.runtime_directory.join("environment.json")
    }

    /// Socket of haproxy's runtime API.
    pub fn haproxy_socket(&self) -> PathBuf {
        self.haproxy_directory.join("haproxy.sock")
    }

    /// Socket of haproxy's master process, which accepts `reload`.
    pub fn master_socket(&self) -> PathBuf {
        self.haproxy_directory.join("haproxy-master.sock")
    }

    /// The agent's own socket.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_directory.join("agent.sock")
    }

    /// Reads the instances' files. Invalid ones are skipped and reported. Started instances of an application that was
    /// removed from the node are skipped too.
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

/// The JSON files of a directory, sorted. Empty if the directory does not exist.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// An error with its causes on one line.
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
    fn started_instances_count_while_their_application_is_on_the_node() {
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
