//! The machinist command: turns one machines.nix into a running, highly available cluster of NixOS machines.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod command;
mod consent;
mod context;
mod duration;
mod failure;
mod help;
mod memory;
mod objects;
mod progress;
mod prompt;
mod report;
mod signals;
mod ui;

use std::process::ExitCode;

use crate::ui::Ui;

fn main() -> ExitCode {
    memory::keep_private();
    let cli = help::parse();
    let ui = Ui::new(cli.global.json, cli.global.verbose);
    let ended = command::run(cli, ui).and_then(|code| ui.unwritten().map_or(Ok(code), Err));
    ended.unwrap_or_else(|failure| {
        ui.failure(&failure);
        ExitCode::from(failure.kind.code())
    })
}
