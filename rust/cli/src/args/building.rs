//! Arguments for evaluation and build of systems.

use std::num::NonZeroUsize;

use clap::Args;
use machinist_operations::systems::{Building, Given};

/// Arguments for evaluation and build.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Evaluation and build")]
pub struct BuildArgs {
    /// Evaluate all systems, unchanged ones too
    #[arg(long)]
    no_cache: bool,

    /// Number of evaluation processes [default: by cores and free memory, with at least 4 nodes each]
    #[arg(long, value_name = "N")]
    eval_workers: Option<NonZeroUsize>,

    /// Deploy this prebuilt system and evaluate nothing; once for each target
    #[arg(long, value_name = "[NODE=]PATH", value_parser = Given::parse)]
    store_path: Vec<Given>,
}

impl BuildArgs {
    /// Returns the options for evaluation and build.
    pub fn building(&self) -> Building {
        Building { no_cache: self.no_cache, eval_workers: self.eval_workers, store_path: self.store_path.clone() }
    }
}
