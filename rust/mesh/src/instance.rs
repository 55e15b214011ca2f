//! What a node offers: the files that its NixOS modules write.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;
use thiserror::Error;

use crate::{Env, Group, Instance, InstanceKey, Name};

/// An instance that runs on this node, as `machinist.mesh.instances.<name>` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalInstance {
    /// Its name on the node.
    pub name: Name,
    /// Its key in etcd.
    pub key: InstanceKey,
    /// Its value in etcd.
    pub value: Instance,
    /// When it is healthy.
    pub check: Check,
    /// How long its connections may go on after it was taken out on purpose.
    pub drain: Duration,
}

/// How it is found out whether an instance is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The time between two checks.
    pub interval: Duration,
    /// The time that an answer may take.
    pub timeout: Duration,
    /// How many must fail in a row until it is unhealthy.
    pub fall: u32,
    /// How many must succeed in a row until it is healthy.
    pub rise: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A TCP connection is accepted.
    Tcp,
    /// A GET of the path is answered with a status from 200 to 399.
    Http(String),
    /// The program ends with 0.
    Command(Vec<String>),
}

/// Why a file says nothing.
#[derive(Debug, Error)]
pub enum LocalInstanceError {
    /// It is not of the shape.
    #[error("it is no instance")]
    Shape(#[source] serde_json::Error),
    /// A value is not what it must be.
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
    /// How much of the weight it has for now, in percent: less than all while it must prove itself.
    #[serde(default = "whole")]
    share: u16,
    #[serde(default)]
    env: FileEnv,
    #[serde(default)]
    check: FileCheck,
    #[serde(default)]
    drain_seconds: u64,
}

const fn whole() -> u16 {
    100
}

/// Returns a share of a weight, in percent. Whoever has a share gets something of it.
fn part(weight: u16, share: u16) -> u16 {
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
    /// Reads a file of the node.
    ///
    /// # Errors
    /// It is not of the shape, or has a value that other nodes would refuse.
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
            weight: part(file.weight.min(256), file.share),
            publish: Some(file.publish.port),
            env,
        };
        // What we would not read, we do not write.
        if Instance::read(value.write().as_bytes()).as_ref() != Ok(&value) {
            return Err(LocalInstanceError::Value("other nodes could not read what it says"));
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
    fn an_instance_that_must_prove_itself_has_a_part_of_its_weight() {
        for (weight, share, part) in
            [(100, 100, 100), (100, 10, 10), (100, 0, 0), (3, 10, 1), (0, 50, 0), (256, 99, 253), (100, 900, 100)]
        {
            assert_eq!(super::part(weight, share), part, "{share} % of {weight}");
        }
        let text = r#"{"address":"10.0.0.5","app":"web","group":"services","name":"web","port":1,"publish":{"port":80},"weight":100}"#;
        assert_eq!(read(text).unwrap().value.weight, 100, "without a share it has all");
        assert_eq!(read(&text.replace("100}", "100,\"share\":25}")).unwrap().value.weight, 25);
    }

    #[test]
    fn what_other_nodes_could_not_read_is_not_written() {
        let text = r#"{"address":"127.0.0.1","app":"web","group":"frontends","name":"web","port":1,"publish":{"port":80},"weight":1}"#;
        assert_eq!(read(text).unwrap_err(), "other nodes could not read what it says");
        assert!(read(&text.replace("127.0.0.1", "10.0.0.1")).is_ok());
        assert_eq!(read("{}").unwrap_err(), "it is no instance");
    }
}
