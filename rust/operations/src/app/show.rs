//! Status of applications: placement in machines.nix, instances in the mesh, and units on a machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use machinist_model::{Cluster, Node, NodeName};
use machinist_remote::{Remote, Request, quote};
use machinist_rollout::step::{Connector, StepError};
use serde::Serialize;

use crate::{
    apps::{Registered, machines, registered, require},
    connect,
    context::Context,
    failure::{self, Failure},
};

/// Applications of the cluster.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// Pairs of application and machine, sorted.
    pub applications: Vec<Row>,
    /// True if the mesh has all instances placed by machines.nix, as far as it was queried.
    pub healthy: bool,
}

/// Application on one machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Name of the application.
    pub app: String,
    /// Name of the machine.
    pub machine: String,
    /// True if machines.nix places it there.
    pub placed: bool,
    /// Its instances in the mesh on this machine; null if the mesh was not queried.
    pub instances: Option<Vec<Registered>>,
}

impl Row {
    /// Returns true if a placed application is in the mesh, as far as known.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.placed || self.instances.as_ref().is_none_or(|instances| !instances.is_empty())
    }
}

/// Lists applications; with `offline` only from machines.nix.
///
/// # Errors
/// machines.nix is invalid, or no member of etcd answers.
pub fn list(context: &Context, offline: bool) -> Result<Listing, Failure> {
    let cluster = context.project.load()?.cluster;
    let found = if offline {
        None
    } else {
        let connector = connect::connector(context, &cluster, None)?;
        Some(registered(&cluster, &connector)?)
    };
    let applications = rows(&placements(&cluster), found.as_ref());
    let healthy = applications.iter().all(Row::is_well);
    Ok(Listing { applications, healthy })
}

/// Returns the pairs of application and machine in machines.nix.
fn placements(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let of = |node: &Node| {
        let machine = node.name.to_string();
        node.apps.iter().map(|app| (app.clone(), machine.clone())).collect::<Vec<_>>()
    };
    cluster.deployable().flat_map(of).collect()
}

/// Returns a row for each application on each machine with a placement or an instance, sorted.
fn rows(placed: &BTreeSet<(String, String)>, found: Option<&BTreeMap<String, Vec<Registered>>>) -> Vec<Row> {
    let mut all: BTreeMap<(String, String), Vec<Registered>> =
        placed.iter().map(|key| (key.clone(), Vec::new())).collect();
    for instance in found.into_iter().flat_map(BTreeMap::values).flatten() {
        all.entry((instance.app.clone(), instance.node.clone())).or_default().push(instance.clone());
    }
    let row = |(key, instances): ((String, String), Vec<Registered>)| {
        let placed = placed.contains(&key);
        Row { app: key.0, machine: key.1, placed, instances: found.map(|_| instances) }
    };
    all.into_iter().map(row).collect()
}

/// Status of an application on all its machines.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Name of the application.
    pub application: String,
    /// True if every machine answers, and the mesh has all instances placed by machines.nix.
    pub healthy: bool,
    /// Machines with a placement or an instance.
    pub machines: Vec<Machine>,
}

/// Unit of an application.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Name, without `.service`.
    pub unit: String,
    /// State, as reported by systemd.
    pub state: String,
    /// Start of that state; `-` if unknown.
    pub since: String,
}

/// Application on one machine, as reported by that machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Name of the machine.
    pub machine: NodeName,
    /// True if machines.nix places it there.
    pub placed: bool,
    /// Its units on this machine; null if the machine does not answer.
    pub units: Option<Vec<Unit>>,
    /// Reason why the machine does not answer.
    pub why: Option<String>,
    /// Its instances in the mesh on this machine.
    pub instances: Vec<Registered>,
}

/// Shows an application on each of its machines.
///
/// # Errors
/// There is no such application, or no member of etcd answers. A machine that does not answer is part of the result.
pub fn show(context: &Context, app: &str) -> Result<Shown, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, app)?;
    let connector = connect::connector(context, &cluster, None)?;
    let found = registered(&cluster, &connector)?.remove(app).unwrap_or_default();
    let placed = machines(&cluster, app);
    let is_at = |node: &NodeName| placed.contains(&node) || found.iter().any(|one| one.node == node.as_str());
    let mut shown = Vec::new();
    for node in cluster.deployable().map(|node| &node.name).filter(|node| is_at(node)) {
        let asked = units(&connector, node, app);
        let instances = found.iter().filter(|one| one.node == node.as_str()).cloned().collect();
        let (units, why) = match asked {
            Ok(units) => (Some(units), None),
            Err(error) => (None, Some(failure::words(node, &error))),
        };
        shown.push(Machine { machine: node.clone(), placed: placed.contains(&node), units, why, instances });
    }
    let healthy =
        shown.iter().all(|machine| machine.units.is_some() && !(machine.placed && machine.instances.is_empty()));
    Ok(Shown { application: app.to_owned(), healthy, machines: shown })
}

/// Queries a machine for an application's own units and those that it names of other modules.
fn units(connector: &Connector, node: &NodeName, app: &str) -> Result<Vec<Unit>, StepError> {
    let remote = connector.connect(node)?;
    let text = ask(&*remote, app)?;
    Ok(read_units(&text))
}

fn ask(remote: &dyn Remote, app: &str) -> Result<String, StepError> {
    let script = format!("app={}\n{UNITS}", quote(app));
    let request = Request::new("ask for the units of an application", script).timeout(Duration::from_secs(30));
    Ok(remote.run_checked(request)?.stdout_text().to_string())
}

/// The module writes the definition in JSON, which names the units: each is one shell word on the machine.
const UNITS: &str = r#"export PATH=/run/current-system/sw/bin:$PATH
names=$(tr ',' '\n' <"/etc/machinist/apps/$app.json" 2>/dev/null | sed -n 's/.*"unit":"\([^"]*\)".*/\1/p')
[ -n "$names" ] || exit 0
systemctl show --property=Id,ActiveState,SubState,ActiveEnterTimestamp -- $names "app-$app-roll.service"
"#;

fn read_units(text: &str) -> Vec<Unit> {
    let unit = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let active = field("ActiveState")?;
        let sub = field("SubState")?;
        let state = if active == sub { active.to_owned() } else { format!("{active} ({sub})") };
        let since = field("ActiveEnterTimestamp").filter(|since| !since.is_empty()).unwrap_or("-");
        Some(Unit { unit: field("Id")?.trim_end_matches(".service").to_owned(), state, since: since.to_owned() })
    };
    text.split("\n\n").filter_map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::{Registered, read_units, rows};

    fn instance(app: &str, node: &str) -> Registered {
        Registered {
            group: "services",
            app: app.to_owned(),
            node: node.to_owned(),
            name: None,
            address: "10.0.0.5:80".to_owned(),
            publish: Some(80),
        }
    }

    #[test]
    fn what_is_placed_and_not_in_the_mesh_is_not_well() {
        let placed = [("web", "w1"), ("web", "w2")].map(|(app, node)| (app.to_owned(), node.to_owned())).into();
        let found = [
            ("web".to_owned(), vec![instance("web", "w1"), instance("web", "w1")]),
            ("old".to_owned(), vec![instance("old", "w2")]),
        ]
        .into();
        let seen: Vec<(String, String, bool, usize, bool)> = rows(&placed, Some(&found))
            .into_iter()
            .map(|row| {
                let well = row.is_well();
                (row.app, row.machine, row.placed, row.instances.unwrap_or_default().len(), well)
            })
            .collect();
        let row = |app: &str, node: &str, placed, count, well| (app.to_owned(), node.to_owned(), placed, count, well);
        assert_eq!(
            seen,
            [row("old", "w2", false, 1, true), row("web", "w1", true, 2, true), row("web", "w2", true, 0, false)]
        );
        assert!(rows(&placed, None).iter().all(super::Row::is_well), "nobody was asked");
    }

    #[test]
    fn units_are_read_as_systemd_tells_them() {
        let text = "ActiveState=active\nId=app-web-a.service\nSubState=running\nActiveEnterTimestamp=Sat 2026\n\nId=app-web-b.service\nActiveState=inactive\nSubState=dead\nActiveEnterTimestamp=\n";
        let units: Vec<_> = read_units(text).into_iter().map(|unit| (unit.unit, unit.state, unit.since)).collect();
        let unit = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            units,
            [unit("app-web-a", "active (running)", "Sat 2026"), unit("app-web-b", "inactive (dead)", "-")]
        );
    }
}
