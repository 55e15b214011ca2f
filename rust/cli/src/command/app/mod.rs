//! `machinist app`: applications, as machines.nix places them and as the mesh has them.

mod new;
mod place;
mod remove;
mod show;
mod update;

use std::collections::BTreeMap;

use clap::Subcommand;
use machinist_mesh::{INSTANCES, Instance, Key, PREFIX};
use machinist_model::{Cluster, NodeName};
use machinist_rollout::{
    membership::find_voice,
    step::{Connector, StepError},
    upkeep::{self, Keys},
};
use serde::Serialize;

use crate::{
    args::Global,
    command::deploy::voters,
    failure::{Failure, Kind, Outcome},
    project::Project,
    ui::Ui,
};

/// Applications.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// List applications: where machines.nix places them, and whether the mesh has them
    List(show::ListArgs),
    /// Say how an application is on each of its machines
    Show(show::ShowArgs),
    /// Write a new application into app_modules/
    New(new::NewArgs),
    /// Bring an application as the directory has it to its machines, one after the other
    #[command(visible_alias = "deploy")]
    Update(Box<update::UpdateArgs>),
    /// Run an application on so many machines: print the change of machines.nix, and make it with --write
    Scale(Box<place::ScaleArgs>),
    /// Move an application to another machine: print the change of machines.nix, and make it with --write
    Move(Box<place::MoveArgs>),
    /// See that nothing is left of an application that machines.nix no longer places
    Remove(remove::RemoveArgs),
}

/// Runs the command.
pub fn run(command: &AppCommand, global: &Global, ui: Ui) -> Outcome {
    match command {
        AppCommand::List(args) => show::list(args, global, ui),
        AppCommand::Show(args) => show::show(args, global, ui),
        AppCommand::New(args) => new::run(args, global, ui),
        AppCommand::Update(args) => update::run(args, global, ui),
        AppCommand::Scale(args) => place::scale(args, global, ui),
        AppCommand::Move(args) => place::relocate(args, global, ui),
        AppCommand::Remove(args) => remove::run(args, global, ui),
    }
}

/// The name of an application, as a folder of `app_modules/` may be called.
fn app_name(text: &str) -> Result<String, String> {
    // The units of an application add to its name, and a name of a unit ends at 255 characters; an instance's at 63.
    let is_label = NodeName::parse(text).is_ok() && text.len() <= 50;
    is_label.then(|| text.to_owned()).ok_or_else(|| "lower-case letters, digits and hyphens, at most 50".to_owned())
}

/// Returns the machines that machines.nix places the application on, sorted.
fn machines<'a>(cluster: &'a Cluster, app: &str) -> Vec<&'a NodeName> {
    let has = |apps: &[String]| apps.iter().any(|name| name == app);
    cluster.deployable().filter(|node| has(&node.apps)).map(|node| &node.name).collect()
}

/// Refuses a name that is no application's.
fn require(project: &Project, cluster: &Cluster, app: &str) -> Result<(), Failure> {
    if !machines(cluster, app).is_empty() || project.directory.join("app_modules").join(app).is_dir() {
        return Ok(());
    }
    Err(Failure::new(Kind::Input, format!("there is no application {app}"))
        .hint(format!("`machinist app list` names those that machines run; `machinist app new {app}` writes one")))
}

/// An instance in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Registered {
    group: &'static str,
    app: String,
    node: String,
    /// Its name on the node; null for one of nix-infra's.
    name: Option<String>,
    address: String,
    /// The port on 127.0.0.1 by which others reach it.
    publish: Option<u16>,
}

/// Reads the instances of all applications, by application.
fn registered(cluster: &Cluster, connector: &Connector) -> Result<BTreeMap<String, Vec<Registered>>, Failure> {
    let members = voters(cluster);
    let askable: Vec<NodeName> = members.keys().cloned().collect();
    let read = |error: &StepError| Failure::from_error(Kind::Failed, error).maybe_hint(error.hint());
    let voice = find_voice(connector, &askable, &members, None).map_err(|error| read(&error))?;
    let keys = Keys { key: PREFIX, prefix: true };
    let (_, entries) = upkeep::get(&voice, keys, true).map_err(|error| read(&error))?;
    let pairs = entries.iter().map(|entry| (String::from_utf8_lossy(&entry.key), entry.value.as_slice()));
    Ok(instances(pairs))
}

/// What keys and values say of instances. What no node would route is none.
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

/// What the keys of a node's instances begin with, of one application in one group.
fn instance_prefix(node: &str, group: &str, app: &str) -> String {
    format!("{INSTANCES}{node}/{group}/{app}/")
}

#[cfg(test)]
mod tests {
    use super::{app_name, instances};

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
}
