//! Arguments that say how systems are evaluated and built.

use std::num::NonZeroUsize;

use clap::Args;

use super::given::Given;

/// How systems are evaluated and built.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Evaluate all systems, also those that nothing changed for
    #[arg(long)]
    pub no_cache: bool,

    /// How many processes evaluate; by default as many as cores and free memory allow, each with at least 4 nodes
    #[arg(long, value_name = "N")]
    pub eval_workers: Option<NonZeroUsize>,

    /// Take this system, built elsewhere, and evaluate nothing; once for each target
    #[arg(long, value_name = "[NODE=]PATH", value_parser = Given::parse)]
    pub store_path: Vec<Given>,
}

impl BuildArgs {
    /// Whether the systems were built elsewhere, so that what the directory says does not change them.
    pub const fn is_given(&self) -> bool {
        !self.store_path.is_empty()
    }
}
