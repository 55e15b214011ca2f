//! `machinist app list` and `machinist app show`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use machinist_model::{Cluster, NodeName};
use machinist_operations::{
    apps::{Registered, app_name, machines, registered, require},
    connect,
};
use machinist_remote::{Remote, Request, quote};
use machinist_rollout::step::{Connector, StepError};
use serde::Serialize;

use crate::{
    args::Global,
    context,
    failure::{self, Kind, Outcome},
    ui::{Tone, Ui},
};

/// What is asked.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only what machines.nix says: ask nobody
    #[arg(long)]
    offline: bool,
}

/// Which application.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,
}

/// An application on a machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    app: String,
    machine: String,
    /// Whether machines.nix places it there.
    placed: bool,
    /// What the mesh has of it there; null if nobody was asked.
    instances: Option<Vec<Registered>>,
}

impl Row {
    /// What is placed is in the mesh, as far as is known.
    fn is_well(&self) -> bool {
        !self.placed || self.instances.as_ref().is_none_or(|instances| !instances.is_empty())
    }
}

/// Lists applications.
pub fn list(args: &ListArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let found = if args.offline {
        None
    } else {
        let connector = connect::connector(&context, &cluster, None)?;
        Some(registered(&cluster, &connector)?)
    };
    let rows = rows(&placements(&cluster), found.as_ref());
    let well = rows.iter().all(Row::is_well);
    if ui.json {
        ui.result_json(&serde_json::json!({ "healthy": well, "applications": rows }));
    } else {
        let cells = rows.iter().map(|row| vec![row.app.clone(), row.machine.clone(), addresses(row), state(row, ui)]);
        ui.result_table(&["APPLICATION", "MACHINE", "ADDRESS", "STATE"], cells.collect());
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

/// Returns application and machine, as machines.nix places them.
fn placements(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let of = |node: &machinist_model::Node| {
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

fn addresses(row: &Row) -> String {
    let addresses: Vec<&str> = row.instances.iter().flatten().map(|instance| instance.address.as_str()).collect();
    if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") }
}

fn state(row: &Row, ui: Ui) -> String {
    match &row.instances {
        None => "placed".to_owned(),
        Some(instances) if instances.is_empty() => ui.paint(Tone::Bad, "not in the mesh"),
        Some(_) if !row.placed => "in the mesh, placed by other means than machines.nix".to_owned(),
        Some(_) => ui.paint(Tone::Good, "in the mesh"),
    }
}

/// A unit of an application.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Unit {
    unit: String,
    state: String,
    since: String,
}

/// An application on a machine, as the machine itself says.
#[derive(Debug, Serialize)]
struct Machine {
    machine: NodeName,
    placed: bool,
    /// Its units that are there; null if the machine does not answer.
    units: Option<Vec<Unit>>,
    why: Option<String>,
    instances: Vec<Registered>,
}

/// Says how an application is.
pub fn show(args: &ShowArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, &args.app)?;
    let connector = connect::connector(&context, &cluster, None)?;
    let found = registered(&cluster, &connector)?.remove(&args.app).unwrap_or_default();
    let placed = machines(&cluster, &args.app);
    let is_at = |node: &NodeName| placed.contains(&node) || found.iter().any(|one| one.node == node.as_str());
    let mut shown = Vec::new();
    for node in cluster.deployable().map(|node| &node.name).filter(|node| is_at(node)) {
        let asked = units(&connector, node, &args.app);
        let instances = found.iter().filter(|one| one.node == node.as_str()).cloned().collect();
        let (units, why) = match asked {
            Ok(units) => (Some(units), None),
            Err(error) => (None, Some(failure::words(node, &error))),
        };
        shown.push(Machine { machine: node.clone(), placed: placed.contains(&node), units, why, instances });
    }
    let well = shown.iter().all(|machine| machine.units.is_some() && !(machine.placed && machine.instances.is_empty()));
    if ui.json {
        ui.result_json(&serde_json::json!({ "application": args.app, "healthy": well, "machines": shown }));
    } else {
        tell(&args.app, &shown, ui);
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn tell(app: &str, machines: &[Machine], ui: Ui) {
    let Some(first) = machines.first() else {
        ui.result(&format!("{app} runs nowhere: no machine of machines.nix has it in `apps`"));
        return;
    };
    if let Some(instance) = machines.iter().flat_map(|machine| &machine.instances).next() {
        let port = instance.publish.map_or_else(|| "?".to_owned(), |port| port.to_string());
        ui.result(&format!("{app} is one of the {}, at 127.0.0.1:{port} of the nodes that reach them", instance.group));
    }
    let mut rows = Vec::new();
    for machine in machines {
        let name = machine.machine.to_string();
        let in_mesh: Vec<&str> = machine.instances.iter().map(|one| one.address.as_str()).collect();
        let in_mesh = if in_mesh.is_empty() { ui.paint(Tone::Bad, "nothing") } else { in_mesh.join(" ") };
        for unit in machine.units.iter().flatten() {
            rows.push(vec![name.clone(), unit.unit.clone(), unit.state.clone(), unit.since.clone(), in_mesh.clone()]);
        }
        if let Some(why) = &machine.why {
            rows.push(vec![name, "-".to_owned(), ui.paint(Tone::Bad, why), "-".to_owned(), in_mesh]);
        }
    }
    ui.result_table(&["MACHINE", "UNIT", "STATE", "SINCE", "IN THE MESH"], rows);
    ui.story(&format!("`journalctl --unit app-{app}-roll` on {} tells how it changed last", first.machine));
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
        let (active, sub) = (field("ActiveState")?, field("SubState")?);
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
