//! The commands, a file each.

pub mod app;
pub mod certs;
pub mod check;
pub mod deploy;
pub mod drift;
pub mod etcd;
pub mod explain;
pub mod generate;
pub mod history;
pub mod init;
pub mod install;
pub mod kubeconfig;
pub mod lint;
pub mod node;
pub mod objects;
pub mod plan;
pub mod rollback;
pub mod router_config;
pub mod sandbox;
pub mod status;
pub mod unlock;

use crate::{
    args::{Cli, Command},
    failure::Outcome,
    ui::Ui,
};

/// Runs the command that the person asked for.
pub fn run(cli: Cli, ui: Ui) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(args, global, ui),
        Command::Check => check::run(global, ui),
        Command::Explain(args) => explain::run(args, ui),
        Command::Generate(args) => generate::run(args, global, ui),
        Command::App(command) => app::run(command, global, ui),
        Command::Certs(args) => certs::run(args, global, ui),
        Command::Kubeconfig(args) => kubeconfig::run(args, global, ui),
        Command::Plan(args) => plan::run(args, global, ui),
        Command::Deploy(args) => deploy::run(args, global, ui),
        Command::Install(args) => install::run(args, global, ui),
        Command::Rollback(args) => rollback::run(args, global, ui),
        Command::RouterConfig(args) => router_config::run(args, global, ui),
        Command::History(args) => history::run(args, global, ui),
        Command::Unlock(args) => unlock::run(args, global, ui),
        Command::Status(args) => status::run(args, global, ui),
        Command::Drift(args) => drift::run(args, global, ui),
        Command::Lint(command) => lint::run(command, global, ui),
        Command::Node(command) => node::run(command, global, ui),
        Command::Objects(command) => objects::run(command, global, ui),
        Command::Etcd(command) => etcd::run(command, global, ui),
        Command::Sandbox(args) => sandbox::run(args, global, ui),
    }
}
