//! Applications: placement in machines.nix, instances in the mesh, and data left on machines.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use machinist_mesh::{INSTANCES, Instance, Key, PREFIX};
use machinist_model::{Cluster, NodeName};
use machinist_remote::{Request, quote};
use machinist_rollout::{
    membership::find_voice,
    step::{Connector, StepError},
    upkeep::{self, Keys},
};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Failure, Kind, OrFail as _},
    project::Project,
    rollout::target::voters,
};

/// Timeout of a request to a machine.
const ANSWER: Duration = Duration::from_secs(60);

/// Parses the name of an application: any valid folder name in `app_modules/`.
///
/// # Errors
/// The name is invalid.
pub fn app_name(text: &str) -> Result<String, String> {
    // Unit names extend the application's name: a unit name has at most 255 characters, an instance name 63.
    let is_label = NodeName::parse(text).is_ok() && text.len() <= 50;
    is_label.then(|| text.to_owned()).ok_or_else(|| "lower-case letters, digits and hyphens, at most 50".to_owned())
}

/// Returns the machines that machines.nix places the application on, sorted.
#[must_use]
pub fn machines<'a>(cluster: &'a Cluster, app: &str) -> Vec<&'a NodeName> {
    let has = |apps: &[String]| apps.iter().any(|name| name == app);
    cluster.deployable().filter(|node| has(&node.apps)).map(|node| &node.name).collect()
}

/// Refuses a name that is not an application's.
///
/// # Errors
/// No such application exists.
pub fn require(project: &Project, cluster: &Cluster, app: &str) -> Result<(), Failure> {
    if !machines(cluster, app).is_empty() || project.directory.join("app_modules").join(app).is_dir() {
        return Ok(());
    }
    Err(Failure::new(Kind::Input, format!("there is no application {app}"))
        .hint(format!("`machinist app list` names those that machines run; `machinist app new {app}` writes one")))
}

/// Instance of an application, as recorded in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// Group of its key: backends, frontends or services.
    pub group: &'static str,
    /// Name of the application.
    pub app: String,
    /// Name of the machine.
    pub node: String,
    /// Name of the instance on the node; null for one of nix-infra's.
    pub name: Option<String>,
    /// Address and port of the instance.
    pub address: String,
    /// Port on 127.0.0.1 by which other applications reach it.
    pub publish: Option<u16>,
}

/// Reads the instances of all applications, grouped by application.
///
/// # Errors
/// etcd cannot be queried.
pub fn registered(cluster: &Cluster, connector: &Connector) -> Result<BTreeMap<String, Vec<Registered>>, Failure> {
    let members = voters(cluster);
    let askable: Vec<NodeName> = members.keys().cloned().collect();
    let read = |error: &StepError| Failure::from_error(Kind::Failed, error).maybe_hint(error.hint());
    let voice = find_voice(connector, &askable, &members, None).map_err(|error| read(&error))?;
    let keys = Keys { key: PREFIX, prefix: true };
    let (_, entries) = upkeep::get(&voice, keys, true).map_err(|error| read(&error))?;
    let pairs = entries.iter().map(|entry| (String::from_utf8_lossy(&entry.key), entry.value.as_slice()));
    Ok(instances(pairs))
}

/// Parses instances from keys and values. An entry that no node would route is skipped.
fn instances<'a, K: AsRef<str>>(pairs: impl Iterator<Item = (K, &'a [u8])>) -> BTreeMap<String, Vec<Registered>> {
    let mut found: BTreeMap<String, Vec<Registered>> = BTreeMap::new();
    for (key, value) in pairs {
        let (Some(Key::Instance(key)), Ok(instance)) = (Key::parse(key.as_ref()), Instance::read(value)) else {
            continue;
        };
        if key.node != instance.node {
            continue;
        }
        found.entry(key.app.to_string()).or_default().push(Registered {
            group: key.group.as_str(),
            app: key.app.to_string(),
            node: key.node.to_string(),
            name: key.name.map(|name| name.to_string()),
            address: std::net::SocketAddr::new(instance.address, instance.port).to_string(),
            publish: instance.publish,
        });
    }
    found
}

/// Returns the key prefix of a node's instances of one application in one group.
#[must_use]
pub fn instance_prefix(node: &str, group: &str, app: &str) -> String {
    format!("{INSTANCES}{node}/{group}/{app}/")
}

/// Leftovers of an application on a machine.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    data: BTreeSet<String>,
}

/// Returns the directories on a machine that hold data of the application, even if it no longer runs there.
///
/// # Errors
/// The machine cannot be queried, or its answer is malformed.
pub fn data_of(connector: &Connector, node: &NodeName, app: &str) -> Result<Vec<String>, Failure> {
    look(connector, node, app).map(|(_, data)| data)
}

/// Returns true if the machine's system includes the application, and the directories that hold its data.
///
/// # Errors
/// The machine cannot be queried, or its answer is malformed.
pub fn look(connector: &Connector, node: &NodeName, app: &str) -> Result<(bool, Vec<String>), Failure> {
    let remote = connector.connect(node).map_err(|error| failed(&error.into()))?;
    let script = format!("app={}\n{ASK}", quote(app));
    let output =
        remote.run_checked(Request::new("ask what is left of an application", script).timeout(ANSWER)).failed()?;
    let text = output.stdout_text();
    let (deployed, record) = text.split_once('\n').unwrap_or((&text, ""));
    let record: Record = serde_json::from_str(record.trim()).unwrap_or_default();
    Ok((deployed == "deployed", directories(&record.data)))
}

const ASK: &str = r#"if [ -e "/etc/machinist/apps/$app.json" ]; then echo deployed; else echo gone; fi
cat "/var/lib/machinist-apps/$app.json" 2>/dev/null || true
"#;

/// Returns the directories in /var/lib that a record names. Entries that are not plain names are skipped: no other path
/// is ever deleted.
fn directories(data: &BTreeSet<String>) -> Vec<String> {
    let plain = |name: &&str| {
        !name.is_empty()
            && !name.starts_with('.')
            && !name.starts_with("machinist")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let top: BTreeSet<&str> = data.iter().filter_map(|path| path.split('/').next()).filter(plain).collect();
    top.into_iter().map(|name| format!("/var/lib/{name}")).collect()
}

fn failed(error: &StepError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    use super::{app_name, directories, instances};

    #[test]
    fn an_application_is_a_label_with_room_for_its_units() {
        for (name, good) in
            [("web", true), ("my-app2", true), ("Web", false), ("a/b", false), ("", false), ("-a", false)]
        {
            assert_eq!(app_name(name).is_ok(), good, "{name}");
        }
        assert!(app_name(&"a".repeat(50)).is_ok() && app_name(&"a".repeat(51)).is_err());
    }

    #[test]
    fn instances_are_what_nodes_would_route() {
        let good: &[u8] = br#"{"node":"w1","ipv4":"10.0.0.5","port":8080,"publish":{"port":80}}"#;
        let found = instances(
            [
                ("/cluster/instances/w1/frontends/web/web-a", good),
                ("/cluster/instances/w2/frontends/web/web-a", good),
                ("/cluster/frontends/web/instances/w1", good),
                ("/cluster/instances/w1/frontends/bad/a", b"{"),
                ("/cluster/nodes/w1", good),
            ]
            .into_iter(),
        );
        let web: Vec<_> = found["web"].iter().map(|one| (one.node.as_str(), one.name.as_deref())).collect();
        assert_eq!(web, [("w1", Some("web-a")), ("w1", None)]);
        assert_eq!((found["web"][0].address.as_str(), found["web"][0].publish), ("10.0.0.5:8080", Some(80)));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn only_plain_directories_below_var_lib_are_ever_deleted() {
        let data = ["web", "postgresql", "postgresql/17", "../etc", "", ".", "/", "a b", "machinist", "machinist-mesh"];
        let data = data.map(str::to_owned).into();
        assert_eq!(directories(&data), ["/var/lib/postgresql", "/var/lib/web"]);
    }
}
