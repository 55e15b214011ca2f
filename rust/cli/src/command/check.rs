//! `machinist check`.

use std::process::ExitCode;

use machinist_operations::{check, project};

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Runs the command.
pub fn run(global: &Global, ui: Ui) -> Outcome {
    let checked = check::run(&context::open(global, ui)?)?;
    if ui.json {
        ui.result_json(&checked);
        return Ok(exit_code((!checked.conflicts.is_empty()).then_some(Kind::Refused)));
    }
    project::refuse(&checked.conflicts)?;
    let cluster = &checked.cluster;
    let deployable = cluster.deployable().count();
    let members = cluster.voters().count();
    let noun = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    ui.result(&format!(
        "{}: {}, {} to deploy, {}",
        cluster.name,
        noun(cluster.nodes.len(), "machine", "machines"),
        deployable,
        noun(members, "etcd member", "etcd members"),
    ));
    Ok(ExitCode::SUCCESS)
}
