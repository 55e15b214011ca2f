//! What a node says of itself: its instances, its routing, its hosts of the ingress.

use std::collections::{BTreeMap, BTreeSet};

use machinist_mesh::{LocalInstance, Name};
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};
use serde::Deserialize;
use serde_json::Value;

use super::run::{LOOK, output};

/// Prints a description.
const SCRIPT: &str = include_str!("describe.sh");

/// Description of a node.
#[derive(Debug, Default)]
pub(super) struct Description {
    /// Addresses of flannel's devices.
    pub flannel: Vec<String>,
    /// Instances that it offers, with their protocols.
    pub instances: Vec<Offered>,
    /// Hosts of its ingress, by name; None if its system does not list them.
    pub ingress: Option<BTreeMap<String, Host>>,
    /// Its agent; None if it has none.
    pub agent: Option<Agent>,
}

/// Instance that a node offers.
#[derive(Debug)]
pub(super) struct Offered {
    /// The instance.
    pub instance: LocalInstance,
    /// Its protocol, such as `mysql`.
    pub protocol: String,
}

/// Host of an ingress.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Host {
    /// True if it has a certificate.
    pub https: bool,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Paths of its locations.
    pub paths: Vec<String>,
}

/// State of an agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// Groups that it is configured to route.
    pub groups: BTreeSet<String>,
    /// Its address and port on loopback.
    pub listen: String,
    /// Its answer to a request for its health.
    pub health: String,
    /// Its status; None without an answer.
    pub status: Option<Status>,
    /// haproxy's routing: applications, as `group.app`.
    pub routing: Routing,
}

/// Status of an agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// True if it watches etcd.
    pub watching: bool,
    /// True if it keeps its lease.
    pub leased: bool,
    /// True if haproxy runs the desired routing.
    pub haproxy: bool,
    /// Current errors, by subsystem.
    pub trouble: BTreeMap<String, String>,
    /// Entries in etcd that it ignores.
    pub problems: Vec<Ignored>,
}

/// Entry in etcd that an agent ignores.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ignored {
    /// Its key or application.
    pub subject: String,
    /// The reason.
    pub why: String,
}

/// Routing of a node, by `group.app`.
pub(super) type Routing = BTreeMap<String, Routed>;

/// Routed application.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Routed {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Its servers with their addresses.
    #[serde(default)]
    pub servers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    listen: String,
}

impl Description {
    /// Asks a node.
    pub fn of(node: &NodeName, remote: &dyn Remote) -> Result<Self, String> {
        let text = output(node, remote, Request::new("describe the node for a test", SCRIPT).timeout(LOOK))?;
        Self::parse(node, &text)
    }

    /// Parses the output of the script.
    fn parse(node: &NodeName, text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let mut ended = false;
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let agent = found.agent.get_or_insert_default();
            match key {
                "agent" => {
                    let Configuration { groups, listen } = json("its agent's configuration", value)?;
                    (agent.groups, agent.listen) = (groups, listen);
                }
                "healthz" => value.clone_into(&mut agent.health),
                "status" => agent.status = serde_json::from_str(value).ok(),
                "routing" => agent.routing = serde_json::from_str(value).unwrap_or_default(),
                "flannel" => found.flannel.push(value.to_owned()),
                "instance" => found.instances.push(Offered::parse(node, value)?),
                "ingress" => found.ingress = Some(json("the hosts of its ingress", value)?),
                "end" => ended = true,
                _ => {}
            }
        }
        if !text.lines().any(|line| line.starts_with("agent=")) {
            found.agent = None;
        }
        if ended { Ok(found) } else { Err("its description is cut off".to_owned()) }
    }
}

impl Offered {
    fn parse(node: &NodeName, text: &str) -> Result<Self, String> {
        let what = "the definition of an instance";
        let node = Name::parse(node.as_str()).map_err(|error| error.to_string())?;
        let instance = LocalInstance::read(&node, text.as_bytes())
            .map_err(|error| format!("{what} is invalid: {error}: {text}"))?;
        let value: Value = json(what, text)?;
        let protocol = value.pointer("/env/protocol").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { instance, protocol })
    }
}

fn json<T: for<'de> Deserialize<'de>>(what: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{what} is invalid: {error}"))
}

/// Parses a node's routing; empty without an answer.
pub(super) fn routing(text: &str) -> Routing {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::{Description, Host, SCRIPT};

    fn parse(text: &str) -> Result<Description, String> {
        Description::parse(&NodeName::parse("w1").unwrap(), text)
    }

    #[test]
    fn a_node_of_a_mesh_describes_itself() {
        let text = r#"flannel=10.77.5.0
instance={"address":"10.0.0.5","app":"web","check":{"http":"/ping"},"env":{"protocol":"http"},"group":"frontends","name":"web-a","port":8080,"publish":{"port":8000},"weight":100}
ingress={"www.example":{"https":true,"aliases":[],"paths":["/"]}}
agent={"groups":["frontends"],"listen":"127.0.0.1:9470"}
healthz=ok
status={"watching":true,"leased":true,"haproxy":true,"new":1}
routing={"frontends.web":{"port":8000,"servers":{"w1:web-a":"10.0.0.5:8080"}}}
end=yes
"#;
        let found = parse(text).unwrap();
        let agent = found.agent.unwrap();
        assert!(agent.groups.contains("frontends") && agent.health == "ok" && agent.status.unwrap().watching);
        assert_eq!(agent.routing["frontends.web"].port, 8000);
        assert_eq!((found.instances[0].protocol.as_str(), found.instances[0].instance.value.port), ("http", 8080));
        let host = Host { https: true, aliases: Vec::new(), paths: vec!["/".to_owned()] };
        assert_eq!(found.ingress.unwrap()["www.example"], host);
    }

    #[test]
    fn a_description_without_its_end_is_none() {
        assert!(parse("flannel=10.0.0.1\n").unwrap_err().contains("cut off"));
        assert!(parse("end=yes\n").unwrap().agent.is_none());
    }

    #[test]
    fn an_agent_that_does_not_answer_has_no_status() {
        let text = "agent={\"groups\":[\"services\"]}\nhealthz=\nstatus=\nrouting=\nend=yes\n";
        let agent = parse(text).unwrap().agent.unwrap();
        assert!(agent.status.is_none() && agent.routing.is_empty() && agent.health.is_empty());
    }

    #[test]
    fn the_script_of_this_computer_ends() {
        let output = std::process::Command::new("sh").args(["-c", SCRIPT]).output().unwrap();
        assert!(parse(&String::from_utf8_lossy(&output.stdout)).is_ok());
    }
}
