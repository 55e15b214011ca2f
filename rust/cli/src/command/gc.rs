//! `machinist gc`.

use std::process::ExitCode;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::gc::{self, Node, Report, Request};
use machinist_rollout::step::collect::Collection;

use crate::{
    args::{Global, targets},
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO},
    ui::{Tone, Ui},
};

/// Deletes old system generations of machines, and collects the garbage of their stores.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Names, globs, `@role`, `label=value`, `--all`
    #[arg(value_name = "TARGET", required_unless_present = "all")]
    targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Number of newest generations to keep
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    keep: u16,

    /// Show what would be deleted, and change nothing
    #[arg(long)]
    plan: bool,
}

/// Runs the command.
pub fn run(args: &GcArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let targets = if args.all { vec!["--all".to_owned()] } else { targets::expand(&args.targets)? };
    let report = gc::run(&context, &Request { targets, keep: args.keep.into(), plan: args.plan })?;
    if ui.json {
        ui.result_json(&report);
    } else {
        report.nodes.iter().for_each(|(name, node)| tell(name, node, ui));
    }
    Ok(exit(&report))
}

fn exit(report: &Report) -> ExitCode {
    match (report.has_failed(), report.has_refused(), report.has_work()) {
        (true, _, _) => ExitCode::from(Kind::Failed.code()),
        (false, true, _) => ExitCode::from(Kind::Refused.code()),
        (false, false, true) => ExitCode::from(SOMETHING_TO_DO),
        (false, false, false) => ExitCode::SUCCESS,
    }
}

fn tell(name: &NodeName, node: &Node, ui: Ui) {
    let name = ui.paint(Tone::Strong, name.as_str());
    match node {
        Node::Planned { generations } => ui.result(&format!("{name} would delete {}", words(generations))),
        Node::Collected { generations, collected } => {
            let freed = collected.freed.map_or_else(|| "an unknown amount".to_owned(), gc::size);
            let boot = match collected.boot_freed {
                Some(bytes @ 1..) => format!(", and {} of its boot loader's", gc::size(bytes.unsigned_abs())),
                _ => String::new(),
            };
            ui.result(&format!("{name} deleted {}; {freed} freed{boot}", words(generations)));
        }
        Node::Refused { why, hint } => problem(&name, "refused:", why, hint.as_deref(), ui),
        Node::Failed { why, hint } => problem(&name, "failed:", why, hint.as_deref(), ui),
    }
}

fn problem(name: &str, what: &str, why: &str, hint: Option<&str>, ui: Ui) {
    ui.result(&format!("{name} {} {why}", ui.paint(Tone::Bad, what)));
    if let Some(hint) = hint {
        ui.result(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
    }
}

fn words(generations: &Collection) -> String {
    let numbers = |numbers: Vec<&u64>| numbers.into_iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let kept = numbers(generations.kept.keys().collect());
    if generations.deleted.is_empty() {
        return format!("no generation, keeps {kept}");
    }
    format!("generations {}, keeps {kept}", numbers(generations.deleted.keys().collect()))
}
