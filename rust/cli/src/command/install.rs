//! `machinist install`.

use clap::Args;
use machinist_operations::install::{self, Request};

use crate::{
    args::Global,
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Puts NixOS on a bare machine. Erases the disk that `machines.<name>.disk` names.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The machine's name
    target: String,

    /// Print each step and run none
    #[arg(long)]
    dry_run: bool,

    /// Do not write nodes/<name>/hardware-configuration.nix
    #[arg(long)]
    no_hardware_config: bool,
}

/// Runs the command.
pub fn run(args: &InstallArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Request { target: args.target.clone(), hardware_config: !args.no_hardware_config };
    let install = install::prepare(&context::open(global, ui)?, &request)?;
    if args.dry_run {
        install.steps()?.iter().for_each(|step| ui.result(step));
        return Ok(exit_code(None));
    }
    install.run()?;
    let name = install.node();
    ui.result(&format!(
        "{name} is installed and answers with its pinned host key; `machinist deploy {name}` from now on"
    ));
    Ok(exit_code(None))
}
