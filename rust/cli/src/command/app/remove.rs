//! `machinist app remove`.

use std::process::ExitCode;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    app::remove::{self, Remains, Request},
    apps::app_name,
};

use crate::{
    args::{Global, node_name},
    consent, context,
    failure::{Outcome, SOMETHING_TO_DO, exit_code},
    ui::Ui,
};

/// Arguments of `app remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// Only from this machine
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    on: Option<NodeName>,

    /// Delete its data on the machines, and with all machines its keys in etcd too
    #[arg(long)]
    purge: bool,
}

/// Runs the command.
pub fn run(args: &RemoveArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let remains = remove::find(&context, &Request { app: args.app.clone(), on: args.on.clone() })?;
    if !args.purge {
        return Ok(tell(args, &remains, ui));
    }
    let words = remains.words();
    let question = format!("delete {words} for ever? [y/N]");
    consent::ask(&question, consent::YES, &format!("{words} would be deleted"), global)?;
    remains.delete()?;
    if ui.json {
        let Remains { left, keys, .. } = &remains;
        ui.result_json(&serde_json::json!({ "application": args.app, "deleted": left, "keys": keys }));
    } else {
        ui.result(&format!("nothing is left of {}{}", args.app, on(args)));
    }
    Ok(exit_code(None))
}

fn on(args: &RemoveArgs) -> String {
    args.on.as_ref().map(|node| format!(" on {node}")).unwrap_or_default()
}

fn tell(args: &RemoveArgs, remains: &Remains, ui: Ui) -> ExitCode {
    let Remains { left, keys, .. } = remains;
    if ui.json {
        ui.result_json(&serde_json::json!({ "application": args.app, "left": left, "keys": keys }));
    } else if remains.is_empty() {
        ui.result(&format!("nothing is left of {}{}", args.app, on(args)));
    } else {
        for machine in left {
            ui.result(&format!("{} still has {}", machine.machine, machine.data.join(", ")));
        }
        for key in keys {
            ui.result(&format!("etcd has {} of {} at {}", args.app, key.node, key.address));
        }
        ui.story("`--purge` deletes that, for ever");
    }
    if remains.is_empty() { exit_code(None) } else { ExitCode::from(SOMETHING_TO_DO) }
}
