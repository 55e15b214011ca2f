//! The machinist command: turns one machines.nix into a running, highly available cluster of NixOS machines.

mod args;
mod command;
mod connect;
mod consent;
mod failure;
mod files;
mod kubernetes;
mod locks;
mod mesh;
mod progress;
mod project;
mod signals;
mod systems;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Cli, ui::Ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.global.json, cli.global.verbose);
    match command::run(cli, ui) {
        Ok(code) => code,
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.kind.code())
        }
    }
}
