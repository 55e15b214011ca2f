//! Arguments for evaluation and build of systems.

use std::num::NonZeroUsize;

use clap::Args;
use machinist_operations::systems::{Building, Given};

/// Arguments for an evaluation.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Evaluation and build")]
pub struct EvaluationArgs {
    /// Evaluate all systems, unchanged ones too
    #[arg(long)]
    no_cache: bool,

    /// Number of evaluation processes [default: by cores and free memory, with at least 4 nodes each]
    #[arg(long, value_name = "N")]
    eval_workers: Option<NonZeroUsize>,
}

impl EvaluationArgs {
    /// Returns true if all systems are evaluated, and the number of processes.
    pub const fn values(self) -> (bool, Option<NonZeroUsize>) {
        (self.no_cache, self.eval_workers)
    }
}

/// Arguments for evaluation and build.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// How
    #[command(flatten)]
    evaluation: EvaluationArgs,

    /// Deploy this prebuilt system and evaluate nothing; once for each target
    #[arg(long, value_name = "[NODE=]PATH", value_parser = Given::parse)]
    store_path: Vec<Given>,
}

impl BuildArgs {
    /// Returns the options for evaluation and build.
    pub fn building(&self) -> Building {
        let (no_cache, eval_workers) = self.evaluation.values();
        Building { no_cache, eval_workers, store_path: self.store_path.clone(), keep_going: false }
    }
}
