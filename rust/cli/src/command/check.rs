//! `machinist check`.

use std::process::ExitCode;

use machinist_operations::{certs, kubernetes::objects, project};

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome, exit_code},
    ui::Ui,
};

/// Runs the command.
pub fn run(global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let loaded = project.load()?;
    let cluster = &loaded.cluster;
    // A manifest that cannot be read would stop a deploy.
    objects::desired(project, cluster)?;
    certs::check_operators(cluster, &context.events)?;
    // Expired and foreign certificates are better found here than in the middle of a deploy.
    let trouble = certs::trouble(&project.certs(), cluster, context.clock.now())?;
    for line in &trouble {
        ui.warn(line);
    }
    let conflicts = project.conflicts(cluster)?;
    if ui.json {
        ui.result_json(&serde_json::json!({
            "warnings": loaded.warnings, "certificates": trouble, "conflicts": conflicts, "cluster": cluster,
        }));
        return Ok(exit_code((!conflicts.is_empty()).then_some(Kind::Refused)));
    }
    project::refuse(&conflicts)?;
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
