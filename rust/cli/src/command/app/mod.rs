//! `machinist app`: applications in machines.nix and in the mesh.

mod new;
mod place;
mod remove;
mod show;
mod update;

use clap::Subcommand;

use crate::{args::Global, failure::Outcome, ui::Ui};

/// Applications.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// List applications: their placements in machines.nix, and their state in the mesh
    List(show::ListArgs),
    /// Show an application's status on each node
    Show(show::ShowArgs),
    /// Write a new application into app_modules/
    New(new::NewArgs),
    /// Deploy an application to its machines, one after the other
    #[command(visible_alias = "deploy")]
    Update(Box<update::UpdateArgs>),
    /// Change the number of machines of an application: print the change of machines.nix, or make it with --write
    Scale(Box<place::ScaleArgs>),
    /// Move an application to another machine: print the change of machines.nix, or make it with --write
    Move(Box<place::MoveArgs>),
    /// Clean up an application that was removed from machines.nix
    Remove(remove::RemoveArgs),
}

/// Runs the command.
pub fn run(command: &AppCommand, global: &Global, ui: Ui) -> Outcome {
    match command {
        AppCommand::List(args) => show::list(args, global, ui),
        AppCommand::Show(args) => show::show(args, global, ui),
        AppCommand::New(args) => new::run(args, global, ui),
        AppCommand::Update(args) => update::run(args, global, ui),
        AppCommand::Scale(args) => place::scale(args, global, ui),
        AppCommand::Move(args) => place::relocate(args, global, ui),
        AppCommand::Remove(args) => remove::run(args, global, ui),
    }
}
