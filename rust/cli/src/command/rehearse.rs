//! `machinist rehearse`.

mod render;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use machinist_operations::{
    rehearse::{self, Limits, Rehearsal, Request},
    rollout::options::Options,
    systems::Building,
};
use machinist_rollout::deploy::Policy;

use crate::{
    args::{Global, SpreadArgs},
    context,
    failure::{Failure, Kind, Outcome, exit_code},
    signals,
    ui::Ui,
};

/// Trees beneath the roots of rehearsal machines, for packages that run programs outside of the store (the project's own
/// tests).
const BENEATH: &str = "MACHINIST_REHEARSAL_BASE";

/// Tries a deploy on machines of this computer.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Names, globs such as `cp*`, `@role`, or `label=value` [default: all machines]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Revision of the directory's repository that the machines start with
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    from: String,

    /// Snapshot of etcd that the machines start with [default: no data]
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,

    /// Request this URL meanwhile, such as http://www.example.org/; a name is served by the ingress nodes
    #[arg(long = "get", value_name = "URL")]
    urls: Vec<String>,

    /// Time for which units and load are watched after the deploy and after the rollback, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    watch: u64,

    /// Longest time without an acknowledged write, or without an answer of a URL, that is no failure, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    max_gap: u64,

    /// Do not roll back afterwards
    #[arg(long)]
    no_rollback: bool,

    /// Leave the machines running, until the next rehearsal or `--remove`
    #[arg(long)]
    keep: bool,

    /// Remove the machines that `--keep` left, and rehearse nothing
    #[arg(long, conflicts_with_all = ["targets", "from", "snapshot", "urls", "no_rollback", "keep"])]
    remove: bool,

    /// In which order
    #[command(flatten)]
    spread: SpreadArgs,
}

/// Runs the command.
pub fn run(args: &RehearseArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let ended = signals::end_on(context.interrupt.clone());
    if args.remove {
        let word = if rehearse::remove(&context)? { "the rehearsal machines are gone" } else { "there are none" };
        if ui.json {
            ui.result_json(&serde_json::json!({ "removed": word != "there are none" }));
        } else {
            ui.result(word);
        }
        return Ok(exit_code(None));
    }
    let rehearsed = rehearse::run(&context, &request(args)?);
    if let Some(code) = ended.code() {
        // They are removed already, if nothing went wrong.
        rehearse::remove(&context)?;
        ui.story("interrupted; the rehearsal machines are gone");
        return Ok(code.into());
    }
    let rehearsal: Rehearsal = rehearsed?;
    if ui.json {
        ui.result_json_line(&render::json(&rehearsal));
    } else {
        render::text(&rehearsal, ui);
    }
    Ok(exit_code(rehearsal.verdict()))
}

fn request(args: &RehearseArgs) -> Result<Request, Failure> {
    let spread = args.spread.spread();
    Ok(Request {
        targets: (!args.targets.is_empty()).then(|| args.targets.clone()),
        from: args.from.clone(),
        snapshot: args.snapshot.clone(),
        urls: args.urls.clone(),
        options: Options {
            policy: Policy { spread, ..Policy::default() },
            reboots: args.spread.reboot,
            ..Options::default()
        },
        building: Building::default(),
        watch: Duration::from_secs(args.watch),
        limits: Limits { gap: Duration::from_secs(args.max_gap) },
        rollback: !args.no_rollback,
        keep: args.keep,
        beneath: beneath(std::env::var(BENEATH).ok().as_deref())?,
    })
}

/// Parses a list of directories, separated by colons.
fn beneath(variable: Option<&str>) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> =
        variable.unwrap_or_default().split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute() || !path.is_dir()) {
        Some(path) => Err(Failure::new(Kind::Input, format!("{BENEATH}: {} is not a directory", path.display()))),
        None => Ok(paths),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::beneath;

    #[test]
    fn the_trees_beneath_a_root_are_existing_directories() {
        assert!(beneath(None).unwrap().is_empty());
        assert_eq!(beneath(Some("/usr:/etc")).unwrap().len(), 2);
        for wrong in ["usr", "/usr:/absent-directory"] {
            assert!(beneath(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
