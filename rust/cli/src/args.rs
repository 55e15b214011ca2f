//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;

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

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The cluster's directory, the one with machines.nix
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true, default_value = ".")]
    pub directory: PathBuf,

    /// Print results as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,

    /// Answer questions with yes
    #[arg(long, global = true)]
    pub yes: bool,

    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Take another flake in place of an input, such as `nixpkgs path:/x` (also MACHINIST_OVERRIDE_INPUTS="nixpkgs=path:/x ...")
    #[arg(long, num_args = 2, value_names = ["INPUT", "FLAKE"], global = true)]
    pub override_input: Vec<String>,

    /// The SSH private key to log in with, before those of the agent and of ~/.ssh
    #[arg(long, value_name = "FILE", global = true, env = "MACHINIST_SSH_KEY", hide_env_values = true)]
    pub ssh_key: Option<PathBuf>,

    /// The age identity or SSH private key that decrypts the cluster's private keys
    #[arg(long, value_name = "FILE", global = true, env = "MACHINIST_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a new cluster's directory, or what is missing of one
    Init(command::init::InitArgs),
    /// Check machines.nix and everything that belongs to it
    Check,
    /// Describe a check by its code, such as M014
    Explain(command::explain::ExplainArgs),
    /// Write generated/, the facts of each node
    Generate(command::generate::GenerateArgs),
    /// Make, list and show certificates
    #[command(subcommand)]
    Certs(command::certs::CertsCommand),
    /// Print the Router's side of BGP, for FRR, BIRD or VyOS
    RouterConfig(command::router_config::RouterConfigArgs),
    /// Write a kubeconfig with a client certificate that lives for hours
    Kubeconfig(command::kubeconfig::KubeconfigArgs),
    /// Say what a deploy would change, and change nothing
    Plan(command::plan::PlanArgs),
    /// Build the targets' systems and bring them to the machines
    Deploy(command::deploy::DeployArgs),
    /// Put NixOS on a bare machine for the first time, with nixos-anywhere
    Install(command::install::InstallArgs),
    /// Bring machines back to a system that they still have
    Rollback(command::rollback::RollbackArgs),
    /// List the runs of this directory
    History(command::history::HistoryArgs),
    /// Take the lock of a deploy that was left behind, after saying whose it is and what the node does
    Unlock(command::unlock::UnlockArgs),
    /// Ask every node and the cluster how they are
    Status(command::status::StatusArgs),
    /// Say what differs from what a deploy left on the machines and from what the directory says
    Drift(command::drift::DriftArgs),
    /// Find what is wrong with manifests before a cluster does
    #[command(subcommand)]
    Lint(command::lint::LintCommand),
    /// Change who votes in etcd: join, remove, replace
    #[command(subcommand)]
    Node(command::node::NodeCommand),
    /// Applications: where they run, a new one, a new version of one
    #[command(subcommand)]
    App(command::app::AppCommand),
    /// Bring objects to Kubernetes: those of machines.nix and those of manifests/
    #[command(subcommand)]
    Objects(command::objects::ObjectsCommand),
    /// Ask etcd: its members, a snapshot of its data
    #[command(subcommand)]
    Etcd(command::etcd::EtcdCommand),
    /// Machines on this computer, to try things
    #[command(subcommand)]
    Sandbox(command::sandbox::SandboxCommand),
}

/// Which nodes a command is for.
#[derive(Clone, Debug, Args)]
pub struct Targets {
    /// Names, globs such as `cp*`, `@role`, or `label=value`
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::Cli;

    /// clap gives arguments of the same id the same value: a command's own `DIR` once took that of `-C`.
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
