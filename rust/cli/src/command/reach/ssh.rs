//! `machinist ssh`.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::reach::{
    known_hosts,
    shell::{self, Request},
};

use crate::{
    args::{Global, node_name},
    context,
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Opens a shell on a machine with OpenSSH, which accepts only the pinned host key.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// The machine
    #[arg(value_name = "NODE", value_parser = node_name, required_unless_present = "print_known_hosts")]
    node: Option<NodeName>,

    /// A command in place of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// Print known_hosts for an ssh of your own: the SSH authority for these machines, and other pinned keys
    #[arg(long, conflicts_with_all = ["node", "command"])]
    print_known_hosts: bool,
}

/// Runs the command.
pub fn run(args: &SshArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let Some(node) = &args.node else {
        ui.document(known_hosts::lines(&context)?.as_bytes());
        return Ok(ExitCode::SUCCESS);
    };
    let shell = shell::command(&context, &Request { node: node.clone(), command: args.command.clone() })?;
    if ui.verbose {
        ui.story(&format!("{} {}", shell.program, shell.arguments.join(" ")));
    }
    // The terminal, its signals and the exit status are OpenSSH's own from here on.
    let error = machinist_nix::program(shell.program).args(&shell.arguments).exec();
    let failure = Failure::new(Kind::Failed, format!("cannot run {}: {error}", shell.program));
    Err(failure.hint("install OpenSSH's client; `machinist exec` works without it"))
}
