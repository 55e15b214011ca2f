//! Instances offered by this node, from the files of its NixOS modules.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;
use thiserror::Error;

use crate::{Env, Group, Instance, InstanceKey, Name};

/// An instance on this node, as declared in `machinist.mesh.instances.<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInstance {
    /// Its name on the node.
    pub name: Name,
    /// Its key in etcd.
    pub key: InstanceKey,
    /// Its value in etcd.
    pub value: Instance,
    /// Its health check.
    pub check: Check,
    /// Maximum time for its connections to finish after a deliberate drain.
    pub drain: Duration,
}

/// Health check of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Kind of request.
    pub kind: CheckKind,
    /// Interval between two checks.
    pub interval: Duration,
    /// Timeout of a check.
    pub timeout: Duration,
    /// Number of consecutive failures after which it is unhealthy.
    pub fall: u32,
    /// Number of consecutive successes after which it is healthy.
    pub rise: u32,
}

/// Kind of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Succeeds if a TCP connection is accepted.
    Tcp,
    /// Succeeds if a GET of the path returns a status from 200 to 399.
    Http(String),
    /// Succeeds if the program exits with 0.
    Command(Vec<String>),
}

/// Error in an instance's file.
#[derive(Debug, Error)]
pub enum LocalInstanceError {
    /// The file does not parse.
    #[error("invalid instance definition")]
    Shape(#[source] serde_json::Error),
    /// A value is invalid.
    #[error("{0}")]
    Value(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    name: Name,
    group: Group,
    app: Name,
    address: IpAddr,
    port: u16,
    publish: FilePublish,
    weight: u16,
    /// Percentage of the weight in effect: less than 100 during a canary phase.
    #[serde(default = "full_share")]
    share: u16,
    #[serde(default)]
    env: FileEnv,
    #[serde(default)]
    check: FileCheck,
    #[serde(default)]
    drain_seconds: u64,
}

const fn full_share() -> u16 {
    100
}

/// Returns a share of a weight, in percent. A share above 0 yields at least 1.
fn share_of(weight: u16, share: u16) -> u16 {
    let part = (u32::from(weight) * u32::from(share.min(100)) + 50) / 100;
    let least = u32::from(weight > 0 && share > 0);
    u16::try_from(part.max(least)).unwrap_or(weight)
}

#[derive(Deserialize)]
struct FilePublish {
    port: u16,
}

#[derive(Default, Deserialize)]
struct FileEnv {
    prefix: Option<String>,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileCheck {
    http: Option<String>,
    command: Vec<String>,
    interval_ms: u64,
    timeout_ms: u64,
    fall: u32,
    rise: u32,
}

impl Default for FileCheck {
    fn default() -> Self {
        Self { http: None, command: Vec::new(), interval_ms: 500, timeout_ms: 500, fall: 2, rise: 1 }
    }
}

impl LocalInstance {
    /// Parses an instance's file.
    ///
    /// # Errors
    /// The file does not parse, or has a value that other nodes would reject.
    pub fn read(node: &Name, bytes: &[u8]) -> Result<Self, LocalInstanceError> {
        let file: File = serde_json::from_slice(bytes).map_err(LocalInstanceError::Shape)?;
        if !file.name.is_label() || !file.app.is_label() {
            return Err(LocalInstanceError::Value("names have lower-case letters, digits and hyphens only"));
        }
        let env = file.env.prefix.map(|prefix| Env {
            prefix: prefix.into(),
            protocol: file.env.protocol.into(),
            path: file.env.path.into(),
        });
        let value = Instance {
            node: node.clone(),
            address: file.address.to_canonical(),
            port: file.port,
            weight: share_of(file.weight.min(256), file.share),
            publish: Some(file.publish.port),
            env,
        };
        // A value that we would not read must not be written.
        if Instance::read(value.write().as_bytes()).as_ref() != Ok(&value) {
            return Err(LocalInstanceError::Value("other nodes would reject its values"));
        }
        let kind = match (file.check.http, file.check.command) {
            (Some(path), _) => CheckKind::Http(path),
            (None, command) if command.is_empty() => CheckKind::Tcp,
            (None, command) => CheckKind::Command(command),
        };
        let check = Check {
            kind,
            interval: Duration::from_millis(file.check.interval_ms.max(50)),
            timeout: Duration::from_millis(file.check.timeout_ms.max(10)),
            fall: file.check.fall.max(1),
            rise: file.check.rise.max(1),
        };
        let key = InstanceKey { group: file.group, app: file.app, node: node.clone(), name: Some(file.name.clone()) };
        Ok(Self { name: file.name, key, value, check, drain: Duration::from_secs(file.drain_seconds) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{CheckKind, LocalInstance};
    use crate::{Key, Name};

    fn read(text: &str) -> Result<LocalInstance, String> {
        LocalInstance::read(&Name::parse("w1").unwrap(), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_module_s_file_is_an_instance() {
        let text = r#"{"address":"10.0.0.5","app":"web","check":{"command":[],"fall":2,"http":"/ping","intervalMs":500,"rise":1,
            "timeoutMs":400},"drainSeconds":30,"env":{"path":"","prefix":"WEB","protocol":"http"},"group":"frontends",
            "name":"web-2","port":8080,"publish":{"port":80},"weight":100}"#;
        let instance = read(text).unwrap();
        assert_eq!(Key::Instance(instance.key).to_string(), "/cluster/instances/w1/frontends/web/web-2");
        assert_eq!(instance.check.kind, CheckKind::Http("/ping".to_owned()));
        assert_eq!((instance.value.publish, instance.drain.as_secs()), (Some(80), 30));
    }

    #[test]
    fn a_canary_has_a_share_of_its_weight() {
        for (weight, share, part) in
            [(100, 100, 100), (100, 10, 10), (100, 0, 0), (3, 10, 1), (0, 50, 0), (256, 99, 253), (100, 900, 100)]
        {
            assert_eq!(super::share_of(weight, share), part, "{share} % of {weight}");
        }
        let text = r#"{"address":"10.0.0.5","app":"web","group":"services","name":"web","port":1,"publish":{"port":80},"weight":100}"#;
        assert_eq!(read(text).unwrap().value.weight, 100, "without a share it has its full weight");
        assert_eq!(read(&text.replace("100}", "100,\"share\":25}")).unwrap().value.weight, 25);
    }

    #[test]
    fn values_that_other_nodes_would_reject_are_not_written() {
        let text = r#"{"address":"127.0.0.1","app":"web","group":"frontends","name":"web","port":1,"publish":{"port":80},"weight":1}"#;
        assert_eq!(read(text).unwrap_err(), "other nodes would reject its values");
        assert!(read(&text.replace("127.0.0.1", "10.0.0.1")).is_ok());
        assert_eq!(read("{}").unwrap_err(), "invalid instance definition");
    }
}
