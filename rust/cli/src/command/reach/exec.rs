//! `machinist exec`.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use machinist_operations::reach::exec::{self, Done, End, Request};
use machinist_remote::quote;

use super::view;
use crate::{
    args::{Global, Targets, UnreachableArg},
    context,
    failure::{Failure, Kind, OrFail as _, Outcome},
    signals,
    ui::{Tone, Ui},
};

/// Runs a command on machines, at the same time on all of them.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Where
    #[command(flatten)]
    targets: Targets,

    /// The command and its arguments; one word alone is shell text, such as 'df -h / | tail -1'
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "script")]
    command: Vec<String>,

    /// Run this shell script instead; the machines need no copy of it
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    script: Option<PathBuf>,

    /// Send standard input to the command, the same on each machine
    #[arg(long)]
    stdin: bool,

    /// Run as the user that logs in, and not as root
    #[arg(long)]
    as_user: bool,

    /// Time limit on each machine, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    timeout: u64,

    /// What machines mean that do not answer
    #[arg(long, value_name = "HOW", value_enum, default_value_t = UnreachableArg::Fail)]
    handle_unreachable: UnreachableArg,
}

/// Runs the command.
pub fn run(args: &ExecArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Request {
        targets: args.targets.chosen()?.unwrap_or_default(),
        script: script(args)?,
        input: input(args)?.into(),
        as_user: args.as_user,
        timeout: Duration::from_secs(args.timeout.max(1)),
        unreachable: args.handle_unreachable.into(),
    };
    let context = view::with_lines(context::open(global, ui)?, ui);
    let ended = signals::end_on(context.interrupt.clone());
    let done = exec::run(&context, &request)?;
    if ui.json {
        ui.result_json_line(&done);
    } else {
        tell(&done, ui);
    }
    Ok(ExitCode::from(ended.code().unwrap_or_else(|| done.code())))
}

fn script(args: &ExecArgs) -> Result<String, Failure> {
    match (&args.script, args.command.as_slice()) {
        (Some(file), _) => read(file),
        (None, [text]) => Ok(text.clone()),
        (None, words) => Ok(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Kind::Input, format!("cannot read {}: {error}", file.display())))
}

fn input(args: &ExecArgs) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if args.stdin {
        if args.targets.targets.iter().any(|target| target == "-") {
            return Err(Failure::new(Kind::Input, "standard input cannot be both the targets and the command's input"));
        }
        io::stdin().read_to_end(&mut bytes).failed()?;
    }
    Ok(bytes)
}

/// Names the machines on which the command failed.
fn tell(done: &Done, ui: Ui) {
    for ended in &done.nodes {
        let text = match &ended.end {
            End::Exited { status: 0 } => continue,
            End::Exited { status } => format!("exited with status {status}"),
            End::Killed { signal } => format!("was killed by SIG{signal}"),
            End::Missing(missing) => {
                view::missing(&ended.node, missing, ui);
                continue;
            }
        };
        ui.story(&format!("{} {}", ui.paint(Tone::Strong, ended.node.as_str()), ui.paint(Tone::Bad, &text)));
    }
}
