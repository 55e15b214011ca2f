//! Applications: where machines.nix places them, where the mesh has them, and how they are on a machine.

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
    /// The applications on their machines, sorted.
    pub applications: Vec<Row>,
    /// True if the mesh has all that machines.nix places, as far as was asked.
    pub healthy: bool,
}

/// An application on a machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The application.
    pub app: String,
    /// The machine.
    pub machine: String,
    /// True if machines.nix places it there.
    pub placed: bool,
    /// Its instances in the mesh; null if etcd was not queried.
    pub instances: Option<Vec<Registered>>,
}

impl Row {
    /// A placed application is in the mesh, or etcd was not queried.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.placed || self.instances.as_ref().is_none_or(|instances| !instances.is_empty())
    }
}

/// Lists applications; `offline` only as machines.nix places them.
///
/// # Errors
/// machines.nix is wrong, or no member of etcd answers.
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

/// Returns application and machine, as machines.nix places them.
fn placements(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let of = |node: &Node| {
        let machine = node.name.to_string();
        node.apps.iter().map(|app| (app.clone(), machine.clone())).collect::<Vec<_>>()
    };
    cluster.deployable().flat_map(of).collect()
}

/// Returns a row for each application on each machine that it is placed on or found at, sorted.
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

/// An application on all its machines.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The application.
    pub application: String,
    /// True if every machine answers, and the mesh has all that machines.nix places.
    pub healthy: bool,
    /// Its machines.
    pub machines: Vec<Machine>,
}

/// A unit of an application.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name, without `.service`.
    pub unit: String,
    /// Its state, as systemd reports it.
    pub state: String,
    /// Time since which it has the state; `-` if it has none.
    pub since: String,
}

/// An application on a machine, as the machine itself reports it.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The machine.
    pub machine: NodeName,
    /// True if machines.nix places it there.
    pub placed: bool,
    /// Its units that are there; null if the machine does not answer.
    pub units: Option<Vec<Unit>>,
    /// Why the machine does not answer.
    pub why: Option<String>,
    /// Its instances in the mesh.
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

/// Asks a machine for the units of an application, its own and those of other modules that it names.
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

/// The definition names the units, in JSON that the module writes: each on the machine's own words.
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
