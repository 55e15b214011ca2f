//! Arguments shared by several commands.

mod building;
mod reach;
mod rollout;
pub mod targets;

use std::path::PathBuf;

use clap::Args;
use machinist_model::NodeName;

use crate::failure::Failure;

pub use self::{
    building::{BuildArgs, EvaluationArgs},
    reach::UnreachableArg,
    rollout::{RolloutArgs, SpreadArgs},
};

/// Arguments accepted by every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
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

    /// Verbose output
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Replace an input by another flake, such as `nixpkgs path:/x` (also MACHINIST_OVERRIDE_INPUTS="nixpkgs=path:/x
    /// ...")
    #[arg(long, num_args = 2, value_names = ["INPUT", "FLAKE"], global = true)]
    pub override_input: Vec<String>,

    /// The SSH private key to log in with, before those of the agent and of ~/.ssh
    #[arg(long, value_name = "FILE", global = true, env = "MACHINIST_SSH_KEY", hide_env_values = true)]
    pub ssh_key: Option<PathBuf>,

    /// The age identity or SSH private key that decrypts the cluster's private keys
    #[arg(long, value_name = "FILE", global = true, env = "MACHINIST_IDENTITY", hide_env_values = true)]
    pub identity: Option<PathBuf>,
}

/// Selection of the nodes that a command applies to.
#[derive(Clone, Debug, Args)]
pub struct Targets {
    /// Names, globs such as `cp*`, `@role`, `label=value`, or `-` for those on standard input
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    pub targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    pub all: bool,
}

impl Targets {
    /// Returns the targets; none for all machines.
    ///
    /// # Errors
    /// Standard input has no target.
    pub fn chosen(&self) -> Result<Option<Vec<String>>, Failure> {
        if self.all { Ok(None) } else { targets::expand(&self.targets).map(Some) }
    }
}

/// Parses the name of a node.
pub fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::parse(text).map_err(|error| error.to_string())
}
