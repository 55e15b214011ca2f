//! `machinist app list` and `machinist app show`.

use clap::Args;
use machinist_operations::{
    app::show::{self, Machine, Row},
    apps::app_name,
};

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Arguments of `app list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print only the placements of machines.nix, without querying the mesh
    #[arg(long)]
    offline: bool,
}

/// Arguments of `app show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,
}

/// Lists applications.
pub fn list(args: &ListArgs, global: &Global, ui: Ui) -> Outcome {
    let listing = show::list(&context::open(global, ui)?, args.offline)?;
    if ui.json {
        ui.result_json(&listing);
    } else {
        let cells = |row: &Row| vec![row.app.clone(), row.machine.clone(), addresses(row), state(row, ui)];
        let rows = listing.applications.iter().map(cells).collect();
        ui.result_table(&["APPLICATION", "MACHINE", "ADDRESS", "STATE"], rows);
    }
    Ok(exit_code((!listing.healthy).then_some(Kind::Failed)))
}

/// Shows an application.
pub fn show(args: &ShowArgs, global: &Global, ui: Ui) -> Outcome {
    let shown = show::show(&context::open(global, ui)?, &args.app)?;
    if ui.json {
        ui.result_json(&shown);
    } else {
        tell(&args.app, &shown.machines, ui);
    }
    Ok(exit_code((!shown.healthy).then_some(Kind::Failed)))
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
