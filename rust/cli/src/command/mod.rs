//! The command line: one file per command.

pub mod app;
pub mod apply_local;
pub mod build;
pub mod certs;
pub mod check;
pub mod completions;
pub mod deploy;
pub mod destroy;
pub mod dns;
pub mod drift;
pub mod etcd;
pub mod eval;
pub mod explain;
pub mod gc;
pub mod generate;
pub mod graph;
pub mod history;
pub mod init;
pub mod install;
pub mod kubeconfig;
pub mod lint;
pub mod man;
pub mod node;
pub mod objects;
pub mod plan;
pub mod privileges;
pub mod provision;
pub mod reach;
#[cfg(test)]
mod reference;
pub mod rehearse;
pub mod rollback;
pub mod router_config;
pub mod sandbox;
pub mod secrets;
pub mod status;
pub mod test;
pub mod unlock;
pub mod upgrade;

use clap::{Parser, Subcommand};

use crate::{args::Global, failure::Outcome, ui::Ui};

/// Turns one machines.nix into a running, highly available cluster of NixOS machines
///
/// Exit codes: 0 done, 1 the operation failed, 2 the command line or machines.nix is wrong, 3 refused for safety,
/// 4 there is something to do.
#[derive(Debug, Parser)]
#[command(name = "machinist", version, max_term_width = 100)]
pub struct Cli {
    /// What holds for every command
    #[command(flatten)]
    pub global: Global,

    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a new cluster's directory, or the missing files of one
    Init(init::InitArgs),
    /// Check machines.nix and everything that belongs to it
    Check,
    /// Describe a check by its code, such as M014
    Explain(explain::ExplainArgs),
    /// Print machines.nix and the facts of the nodes as JSON
    Eval(eval::EvalArgs),
    /// Write generated/, the facts of each node
    Generate(generate::GenerateArgs),
    /// Make, list and show certificates
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Secrets: set, get, edit, list, remove, rekey and check files in the sops format
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Print the Router's side of BGP, for FRR, BIRD or VyOS
    RouterConfig(router_config::RouterConfigArgs),
    /// Write a kubeconfig with a short-lived client certificate
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// Build the systems without touching a host
    Build(build::BuildSystemsArgs),
    /// Show what a deploy would change, and change nothing
    Plan(plan::PlanArgs),
    /// Try a deploy on machines of this computer that boot the nodes' own systems
    Rehearse(rehearse::RehearseArgs),
    /// Build the targets' systems and deploy them
    Deploy(deploy::DeployArgs),
    /// Change the pin of nixpkgs and deploy the new systems, in the stages that etcd and Kubernetes need
    Upgrade(Box<upgrade::UpgradeArgs>),
    /// Deploy this machine's own system, on the machine itself
    ApplyLocal(apply_local::ApplyLocalArgs),
    /// Create the servers of machines.nix at their provider
    Provision(provision::ProvisionArgs),
    /// Delete servers at their provider
    Destroy(destroy::DestroyArgs),
    /// Publish the records of machines.nix in a DNS zone
    Dns(dns::DnsArgs),
    /// Install NixOS on a bare machine, with nixos-anywhere
    Install(install::InstallArgs),
    /// Return machines to an earlier system
    Rollback(rollback::RollbackArgs),
    /// Delete old systems of machines, and collect their garbage
    Gc(gc::GcArgs),
    /// List the runs of this directory
    History(history::HistoryArgs),
    /// Show a stale lock and its holder, and take it
    Unlock(unlock::UnlockArgs),
    /// Show the health of every node and of the cluster
    Status(status::StatusArgs),
    /// Show what the cluster provides, on which machines it stands, and what a failure takes
    Graph(graph::GraphArgs),
    /// Test a running cluster by its behaviour
    Test(test::TestArgs),
    /// List what runs on nodes, and the rights that it needs
    Privileges(privileges::PrivilegesArgs),
    /// Show where machines differ from the last deploy and from the directory
    Drift(drift::DriftArgs),
    /// Run a command on machines
    Exec(reach::ExecArgs),
    /// Show the journals of machines, merged by time
    Logs(reach::LogsArgs),
    /// Open a shell on a machine
    Ssh(reach::SshArgs),
    /// Put a file on machines
    Upload(reach::UploadArgs),
    /// Fetch a file from machines
    Download(reach::DownloadArgs),
    /// Forward local ports to a machine, or to what it reaches
    PortForward(reach::PortForwardArgs),
    /// Check manifests before they are applied
    #[command(subcommand)]
    Lint(lint::LintCommand),
    /// Change who votes in etcd, and addresses: join, remove, replace, readdress
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// List, create, update, move and remove applications
    #[command(subcommand)]
    App(app::AppCommand),
    /// Apply objects to Kubernetes: those of machines.nix and of manifests/
    #[command(subcommand)]
    Objects(objects::ObjectsCommand),
    /// Query and maintain etcd: members, keys, snapshots, restore
    #[command(subcommand)]
    Etcd(etcd::EtcdCommand),
    /// Manage sandbox machines on this computer
    #[command(subcommand)]
    Sandbox(sandbox::SandboxCommand),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Write manual pages, one for each command
    Man(man::ManArgs),
}

/// Runs the requested command.
pub fn run(cli: Cli, ui: Ui) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(args, global, ui),
        Command::Check => check::run(global, ui),
        Command::Explain(args) => explain::run(args, ui),
        Command::Eval(args) => eval::run(args, global, ui),
        Command::Generate(args) => generate::run(args, global, ui),
        Command::App(command) => app::run(command, global, ui),
        Command::Certs(args) => certs::run(args, global, ui),
        Command::Secrets(command) => secrets::run(command, global, ui),
        Command::Kubeconfig(args) => kubeconfig::run(args, global, ui),
        Command::Build(args) => build::run(args, global, ui),
        Command::Plan(args) => plan::run(args, global, ui),
        Command::Rehearse(args) => rehearse::run(args, global, ui),
        Command::Deploy(args) => deploy::run(args, global, ui),
        Command::ApplyLocal(args) => apply_local::run(args, global, ui),
        Command::Provision(args) => provision::run(args, global, ui),
        Command::Destroy(args) => destroy::run(args, global, ui),
        Command::Dns(args) => dns::run(args, global, ui),
        Command::Install(args) => install::run(args, global, ui),
        Command::Rollback(args) => rollback::run(args, global, ui),
        Command::Graph(args) => graph::run(args, global, ui),
        Command::RouterConfig(args) => router_config::run(args, global, ui),
        Command::History(args) => history::run(args, global, ui),
        Command::Upgrade(args) => upgrade::run(args, global, ui),
        Command::Unlock(args) => unlock::run(args, global, ui),
        Command::Status(args) => status::run(args, global, ui),
        Command::Test(args) => test::run(args, global, ui),
        Command::Gc(args) => gc::run(args, global, ui),
        Command::Privileges(args) => privileges::run(args, ui),
        Command::Drift(args) => drift::run(args, global, ui),
        Command::Exec(args) => reach::exec(args, global, ui),
        Command::Logs(args) => reach::logs(args, global, ui),
        Command::Ssh(args) => reach::ssh(args, global, ui),
        Command::Upload(args) => reach::upload(args, global, ui),
        Command::Download(args) => reach::download(args, global, ui),
        Command::PortForward(args) => reach::port_forward(args, global, ui),
        Command::Lint(command) => lint::run(command, global, ui),
        Command::Node(command) => node::run(command, global, ui),
        Command::Objects(command) => objects::run(command, global, ui),
        Command::Etcd(command) => etcd::run(command, global, ui),
        Command::Sandbox(args) => sandbox::run(args, global, ui),
        Command::Completions(args) => completions::run(args, ui),
        Command::Man(args) => man::run(args, ui),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::Cli;

    /// Requires unique ids: clap assigns arguments with the same id the same value, and a command's own `DIR` once got
    /// that of `-C`.
    fn ids_are_unique(command: &clap::Command, global: &BTreeSet<String>) {
        for argument in command.get_arguments() {
            let id = argument.get_id().to_string();
            assert!(
                !global.contains(&id) || argument.is_global_set(),
                "{}: {id} is also a global one",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(|command| ids_are_unique(command, global));
    }

    #[test]
    fn no_command_has_an_argument_with_the_id_of_a_global_one() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        let global = cli.get_arguments().filter(|a| a.is_global_set()).map(|a| a.get_id().to_string()).collect();
        cli.get_subcommands().for_each(|command| ids_are_unique(command, &global));
    }
}
