//! `machinist router-config`.

use clap::Args;
use machinist_codegen::router::Format;
use machinist_operations::router_config::{self, Request};

use crate::{
    args::Global,
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Prints the Router's side of BGP.
#[derive(Debug, Args)]
pub struct RouterConfigArgs {
    /// The Router's language: frr, bird or vyos
    #[arg(long, default_value = "frr")]
    format: Format,

    /// Also print the password of the sessions, decrypted with your identity
    #[arg(long)]
    show_password: bool,
}

/// Runs the command.
pub fn run(args: &RouterConfigArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Request { format: args.format, with_password: args.show_password };
    let text = router_config::run(&context::open(global, ui)?, &request)?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "config": *text }));
    } else {
        ui.document(format!("{}\n", text.trim_end()).as_bytes());
    }
    Ok(exit_code(None))
}
