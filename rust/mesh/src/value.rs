//! Values in etcd: JSON, parsed leniently and written strictly.
//!
//! nix-infra's values are read too: some of its numbers are strings, addresses are called `ipv4`, and there is no
//! version.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::{Value, json};
use thiserror::Error;

use crate::{Group, Name, address};

/// The version of the data model that we write. A value of a later version is ignored, since its meaning may differ.
pub const VERSION: u64 = 1;

/// Error of a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The value is not a JSON object.
    #[error("the value is not a JSON object: {0}")]
    Json(String),
    /// A field is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is invalid.
    #[error("{field}: expected {wanted}, found {found}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// The field's value, shortened.
        found: String,
        /// The expected value, as a noun phrase.
        wanted: &'static str,
    },
    /// The value was written by a later version of machinist.
    #[error("unsupported version {0} of the data model; expected {VERSION} or earlier")]
    Version(u64),
}

/// Record of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Name of the node.
    pub name: Name,
    /// Address of the node.
    pub address: IpAddr,
    /// The groups that it routes.
    pub groups: BTreeSet<Group>,
}

/// Settings for all instances of an application. Only operators may write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The published port on 127.0.0.1, which overrides that of the instances.
    pub port: Option<u16>,
    /// Variables of consumers.
    pub env: Option<Env>,
    /// The nodes whose instances count; all if absent.
    pub nodes: Option<BTreeSet<Name>>,
}

/// Variables of an application's consumers: their prefix, and their values besides host and port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Env {
    /// Prefix, such as `DB` for `DB_HOST`.
    pub prefix: Box<str>,
    /// Protocol, such as `http`.
    pub protocol: Box<str>,
    /// Path, such as `/api`; may be empty.
    pub path: Box<str>,
}

/// An instance of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Node that it claims to run on.
    pub node: Name,
    /// Address for connections from other nodes.
    pub address: IpAddr,
    /// Port at this address.
    pub port: u16,
    /// Weight for new connections, 0 to 256.
    pub weight: u16,
    /// The published port on 127.0.0.1 of other nodes, if it sets one.
    pub publish: Option<u16>,
    /// Variables of consumers.
    pub env: Option<Env>,
}

/// Locations of a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Path to application.
    pub locations: BTreeMap<Box<str>, Location>,
}

/// Target of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Group of the application.
    pub group: Group,
    /// Name of the application.
    pub app: Name,
}

/// Prefixes whose `<prefix>_PATH` is a search path of a loader or an interpreter.
const LOADERS: [&str; 9] =
    ["BASH_LOADABLES", "GCONV", "GEM", "GIT_EXEC", "LD_LIBRARY", "LUA", "NIX", "NODE", "SYSTEMD_UNIT"];

/// Default weight of an instance.
const WEIGHT: u16 = 100;

impl NodeRecord {
    /// Parses a value.
    ///
    /// # Errors
    /// The value is not a valid record of a node.
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        let fields = Fields::read(bytes)?;
        let mut groups = BTreeSet::new();
        for group in fields.list("services")? {
            // nix-infra writes one empty string for a node without groups.
            if group.is_empty() {
                continue;
            }
            groups.insert(Group::parse(group).ok_or_else(|| wrong("services", group, GROUPS))?);
        }
        Ok(Self { name: fields.name("name")?, address: fields.address()?, groups })
    }

    /// Renders the value.
    #[must_use]
    pub fn write(&self) -> String {
        let services: Vec<&str> = self.groups.iter().map(|group| group.as_str()).collect();
        let mut value = json!({ "name": self.name, "services": services, "version": VERSION });
        value[family(self.address)] = json!(self.address);
        value.to_string()
    }
}

impl Metadata {
    /// Parses a value.
    ///
    /// # Errors
    /// The value is not valid metadata.
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        let fields = Fields::read(bytes)?;
        let nodes = match fields.0.get("nodes") {
            None | Some(Value::Null) => None,
            Some(_) => {
                let names = fields.list("nodes")?.into_iter();
                let parse = |text: &str| Name::parse(text).map_err(|_| wrong("nodes", text, "a list of names"));
                Some(names.map(parse).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { port: fields.publish()?, env: fields.env()?, nodes })
    }

    /// Renders the value, including the fields that nix-infra's consumers read.
    #[must_use]
    pub fn write(&self) -> String {
        let mut value = json!({ "version": VERSION });
        if let Some(port) = self.port {
            value["publish"] = json!({ "port": port });
        }
        if let Some(env) = &self.env {
            write_env(&mut value, env, self.port);
        }
        if let Some(nodes) = &self.nodes {
            value["nodes"] = json!(nodes);
        }
        value.to_string()
    }
}

impl Instance {
    /// Parses a value.
    ///
    /// # Errors
    /// The value is not a valid instance.
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        let fields = Fields::read(bytes)?;
        let weight = fields.number("weight", 256)?.unwrap_or(u64::from(WEIGHT));
        Ok(Self {
            node: fields.name("node")?,
            address: fields.address()?,
            port: fields.port("port")?.ok_or(ValueError::Missing("port"))?,
            weight: u16::try_from(weight).unwrap_or(WEIGHT),
            publish: fields.publish()?,
            env: fields.env()?,
        })
    }

    /// Renders the value, including the fields that nix-infra's consumers read.
    #[must_use]
    pub fn write(&self) -> String {
        let mut value = json!({ "node": self.node, "port": self.port, "weight": self.weight, "version": VERSION });
        value[family(self.address)] = json!(self.address);
        if let Some(port) = self.publish {
            value["publish"] = json!({ "port": port });
        }
        if let Some(env) = &self.env {
            write_env(&mut value, env, self.publish);
        }
        value.to_string()
    }
}

impl Ingress {
    /// Parses a value.
    ///
    /// # Errors
    /// The value is not a valid ingress host.
    pub fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        let fields = Fields::read(bytes)?;
        let Some(Value::Object(found)) = fields.0.get("locations") else {
            return Err(ValueError::Missing("locations"));
        };
        let mut locations = BTreeMap::new();
        for (path, target) in found {
            let is_path = path.starts_with('/') && is_path(path);
            if !is_path {
                return Err(wrong("locations", path, "paths to applications"));
            }
            let Value::Object(target) = target else { return Err(wrong("locations", path, "paths to applications")) };
            let target = Fields(target.clone());
            let group = target.text("group")?.ok_or(ValueError::Missing("group"))?;
            let group = Group::parse(group).ok_or_else(|| wrong("group", group, GROUPS))?;
            locations.insert(path.as_str().into(), Location { group, app: target.name("app")? });
        }
        Ok(Self { locations })
    }

    /// Renders the value.
    #[must_use]
    pub fn write(&self) -> String {
        let target = |location: &Location| json!({ "group": location.group.as_str(), "app": location.app });
        let locations: BTreeMap<&str, Value> = self.locations.iter().map(|(path, to)| (&**path, target(to))).collect();
        json!({ "locations": locations, "version": VERSION }).to_string()
    }
}

const GROUPS: &str = "backends, frontends or services";

const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

fn write_env(value: &mut Value, env: &Env, port: Option<u16>) {
    value["env_prefix"] = json!(env.prefix);
    let mut variables = json!({ "PROTOCOL": env.protocol, "HOST": "127.0.0.1", "PATH": env.path });
    if let Some(port) = port {
        variables["PORT"] = json!(port);
    }
    value["env"] = variables;
}

/// The fields of a JSON object.
struct Fields(serde_json::Map<String, Value>);

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, ValueError> {
        let map = serde_json::from_slice(bytes).map_err(|error| ValueError::Json(error.to_string()))?;
        let fields = Self(map);
        match fields.number("version", u64::MAX)? {
            Some(later) if later > VERSION => Err(ValueError::Version(later)),
            _ => Ok(fields),
        }
    }

    fn text(&self, field: &'static str) -> Result<Option<&str>, ValueError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(field, &other.to_string(), "a string")),
        }
    }

    fn list<'a>(&'a self, field: &'static str) -> Result<Vec<&'a str>, ValueError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let text =
                    |item: &'a Value| item.as_str().ok_or_else(|| wrong(field, &item.to_string(), "a list of strings"));
                items.iter().map(text).collect()
            }
            Some(other) => Err(wrong(field, &other.to_string(), "a list of strings")),
        }
    }

    fn name(&self, field: &'static str) -> Result<Name, ValueError> {
        let text = self.text(field)?.ok_or(ValueError::Missing(field))?;
        Name::parse(text).map_err(|_| wrong(field, text, "a name"))
    }

    /// A number, possibly written as a string.
    fn number(&self, field: &'static str, most: u64) -> Result<Option<u64>, ValueError> {
        let number = match self.0.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        let found = || self.0.get(field).map(Value::to_string).unwrap_or_default();
        number.filter(|number| *number <= most).map(Some).ok_or_else(|| wrong(field, &found(), "a number in its range"))
    }

    fn port(&self, field: &'static str) -> Result<Option<u16>, ValueError> {
        let port = self.number(field, u64::from(u16::MAX))?.and_then(|port| u16::try_from(port).ok());
        if port == Some(0) { Err(wrong(field, "0", "a port")) } else { Ok(port) }
    }

    fn publish(&self) -> Result<Option<u16>, ValueError> {
        match self.0.get("publish") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(publish)) => Self(publish.clone()).port("port"),
            Some(other) => Err(wrong("publish", &other.to_string(), "an object with a port")),
        }
    }

    /// The address, which must be one that other nodes can connect to.
    fn address(&self) -> Result<IpAddr, ValueError> {
        let (field, text) = match (self.text("ipv4")?, self.text("ipv6")?) {
            (Some(text), _) => ("ipv4", text),
            (None, Some(text)) => ("ipv6", text),
            (None, None) => return Err(ValueError::Missing("ipv4")),
        };
        let address = text.trim().parse().ok().and_then(address::usable);
        address.ok_or_else(|| wrong(field, text, "an address that other nodes can connect to"))
    }

    fn env(&self) -> Result<Option<Env>, ValueError> {
        let Some(prefix) = self.text("env_prefix")?.filter(|prefix| !prefix.is_empty()) else { return Ok(None) };
        let is_start = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_';
        let is_prefix = |text: &str| {
            text.len() <= 64
                && text.as_bytes().first().is_some_and(is_start)
                && text.bytes().all(|byte| is_start(&byte) || byte.is_ascii_digit())
        };
        if !is_prefix(prefix) {
            return Err(wrong("env_prefix", prefix, "upper-case letters, digits and `_`"));
        }
        let variables = match self.0.get("env") {
            Some(Value::Object(variables)) => Self(variables.clone()),
            _ => Self(serde_json::Map::new()),
        };
        let protocol = variables.text("PROTOCOL")?.unwrap_or("tcp");
        let path = variables.text("PATH")?.unwrap_or("");
        let is_protocol = !protocol.is_empty()
            && protocol.len() <= 32
            && protocol.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'));
        if !is_protocol {
            return Err(wrong("env.PROTOCOL", protocol, "the name of a protocol"));
        }
        if !is_path(path) {
            return Err(wrong("env.PATH", path, "a path"));
        }
        if !path.is_empty() && LOADERS.contains(&prefix) {
            return Err(wrong("env_prefix", prefix, "a prefix whose _PATH no loader looks at"));
        }
        Ok(Some(Env { prefix: prefix.into(), protocol: protocol.into(), path: path.into() }))
    }
}

/// True for a URL path without characters that are special in a shell or a configuration.
fn is_path(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'~' | b'-');
    text.len() <= 256 && text.bytes().all(allowed)
}

fn wrong(field: &'static str, found: &str, wanted: &'static str) -> ValueError {
    let found: String = found.chars().take(80).collect();
    ValueError::Field { field, found: format!("{found:?}"), wanted }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Env, Ingress, Instance, Metadata, Name, NodeRecord, ValueError};

    #[test]
    fn what_nix_infra_wrote_is_read() {
        let node = NodeRecord::read(br#"{"name":"worker001","ipv4":"10.10.3.1","services":["backends","services"]}"#);
        assert_eq!(node.unwrap().groups.len(), 2);
        assert_eq!(NodeRecord::read(br#"{"name":"r","ipv4":"10.10.3.1","services":[""]}"#).unwrap().groups.len(), 0);
        let metadata = br#"{"publish":{"port":"11311"},"env_prefix":"APP","env":{"PROTOCOL":"http","HOST":"127.0.0.1","PORT":11311,"PATH":""}}"#;
        let metadata = Metadata::read(metadata).unwrap();
        assert_eq!((metadata.port, &*metadata.env.unwrap().protocol), (Some(11311), "http"));
        let instance = Instance::read(br#"{"node":"worker001","ipv4":"10.10.3.1","port":11311}"#).unwrap();
        assert_eq!((instance.port, instance.weight, instance.publish), (11311, 100, None));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let env = Some(Env { prefix: "DB".into(), protocol: "http".into(), path: "/a".into() });
        for address in ["10.0.0.1", "fd00::1"] {
            let node = Name::parse("w1").unwrap();
            let address = address.parse().unwrap();
            let instance = Instance { node, address, port: 1, weight: 0, publish: Some(2), env: env.clone() };
            assert_eq!(Instance::read(instance.write().as_bytes()).unwrap(), instance);
        }
        let metadata = Metadata { port: Some(9), env, nodes: Some([Name::parse("a").unwrap()].into()) };
        assert_eq!(Metadata::read(metadata.write().as_bytes()).unwrap(), metadata);
        let ingress = Ingress::read(br#"{"locations":{"/":{"group":"frontends","app":"web"}}}"#).unwrap();
        assert_eq!(Ingress::read(ingress.write().as_bytes()).unwrap(), ingress);
    }

    #[track_caller]
    fn refused(value: &str, why: &str) {
        assert_eq!(Instance::read(value.as_bytes()).unwrap_err().to_string(), why);
    }

    #[test]
    fn invalid_values_are_refused_with_the_field() {
        refused(r#"{"node":"a","ipv4":"10.0.0.1"}"#, "port is missing");
        refused(r#"{"node":"a","ipv4":"10.0.0.1","port":0}"#, "port: expected a port, found \"0\"");
        refused(
            r#"{"node":"a","ipv4":"10.0.0.1","port":99999}"#,
            "port: expected a number in its range, found \"99999\"",
        );
        refused(r#"{"ipv4":"10.0.0.1","port":1}"#, "node is missing");
        for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "x", "10.0.0.1:80"] {
            let value = format!(r#"{{"node":"a","ipv4":"{address}","port":1}}"#);
            let why = format!("ipv4: expected an address that other nodes can connect to, found {address:?}");
            refused(&value, &why);
        }
        refused(
            r#"{"node":"a","ipv4":"10.0.0.1","port":1,"env_prefix":"A\nB=","env":{}}"#,
            r#"env_prefix: expected upper-case letters, digits and `_`, found "A\nB=""#,
        );
        refused(
            r#"{"node":"a","ipv4":"10.0.0.1","port":1,"env_prefix":"A","env":{"PATH":"/$(x)"}}"#,
            "env.PATH: expected a path, found \"/$(x)\"",
        );
    }

    #[test]
    fn a_value_of_a_later_version_is_ignored() {
        let value = br#"{"node":"a","ipv4":"10.0.0.1","port":1,"version":2}"#;
        assert_eq!(Instance::read(value), Err(ValueError::Version(2)));
        assert!(matches!(Instance::read(b"[]"), Err(ValueError::Json(_))));
    }
}
