//! Arguments for evaluation and build of systems.

use std::num::NonZeroUsize;

use clap::Args;
use machinist_operations::systems::{Building, Given};

/// How systems are evaluated and built.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Evaluate all systems, also those that nothing changed for
    #[arg(long)]
    no_cache: bool,

    /// How many processes evaluate; by default as many as cores and free memory allow, each with at least 4 nodes
    #[arg(long, value_name = "N")]
    eval_workers: Option<NonZeroUsize>,

    /// Take this system, built elsewhere, and evaluate nothing; once for each target
    #[arg(long, value_name = "[NODE=]PATH", value_parser = Given::parse)]
    store_path: Vec<Given>,
}

impl BuildArgs {
    /// Returns the options for evaluation and build.
    pub fn building(&self) -> Building {
        Building { no_cache: self.no_cache, eval_workers: self.eval_workers, store_path: self.store_path.clone() }
    }
}
