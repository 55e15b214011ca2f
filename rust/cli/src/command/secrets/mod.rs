//! `machinist secrets`: files of secrets in the sops format.

mod edit;
mod input;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use machinist_operations::secrets::{self, Finding, Place, Problem, Scope, SecretName};
use serde_json::json;

use crate::{
    args::Global,
    consent, context,
    failure::{Failure, Kind, Outcome, SOMETHING_TO_DO},
    signals,
    ui::{Tone, Ui},
};

/// Files of secrets, encrypted for the operators and for the nodes that machines.nix names.
#[derive(Debug, Subcommand)]
pub enum SecretsCommand {
    /// Set a value: prompted for without echo, or from a file or stdin
    Set(SetArgs),
    /// Print a value, or a whole file in plain
    Get(PlaceArgs),
    /// Edit a file with $VISUAL or $EDITOR, in memory
    Edit(EditArgs),
    /// List the files, or the keys of one
    List(ListArgs),
    /// Remove a value, or a whole file
    Rm(PlaceArgs),
    /// Encrypt files to the recipients of machines.nix, each with a new data key
    Rekey(RekeyArgs),
    /// Report files that are unreferenced, damaged, or readable by the wrong nodes
    Check(CheckArgs),
}

/// A file and a key.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The file below secrets/, such as db.yaml; .yaml, .json, .env and .ini have keys, others are one value
    #[arg(value_name = "FILE")]
    file: String,

    /// The key, such as database/password [default: the whole file]
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

impl PlaceArgs {
    fn place(&self) -> Result<Place, Failure> {
        Place::parse(&self.file, self.key.as_deref())
    }
}

/// What is set, and where the value comes from.
#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// Read the value from a file, - for stdin [default: prompt]
    #[arg(long = "file", value_name = "PATH")]
    from: Option<PathBuf>,
}

/// What is edited.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// The file below secrets/, created if it is missing
    #[arg(value_name = "FILE")]
    file: String,
}

/// What is listed.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The file whose keys are listed [default: the files]
    #[arg(value_name = "FILE")]
    file: Option<String>,
}

/// What is encrypted again.
#[derive(Debug, Args)]
pub struct RekeyArgs {
    /// The files below secrets/ [default: all]
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Also those whose recipients are right, such as after a key was exposed
    #[arg(long = "all")]
    everything: bool,
}

/// Nothing to choose.
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Runs the command.
pub fn run(command: &SecretsCommand, global: &Global, ui: Ui) -> Outcome {
    match command {
        SecretsCommand::Set(args) => set(args, global, ui),
        SecretsCommand::Get(args) => get(args, global, ui),
        SecretsCommand::Edit(args) => edit::run(&args.file, global, ui),
        SecretsCommand::List(args) => list(args, global, ui),
        SecretsCommand::Rm(args) => remove(args, global, ui),
        SecretsCommand::Rekey(args) => rekey(args, global, ui),
        SecretsCommand::Check(_) => check(global, ui),
    }
}

fn set(args: &SetArgs, global: &Global, ui: Ui) -> Outcome {
    let place = args.place.place()?;
    let context = context::open(global, ui)?;
    let is_exact = place.key.is_empty();
    let value = input::read(args.from.as_deref(), &display(&place), is_exact, ui)?;
    secrets::set(&context, &place, &value)?;
    done(&place, "set", ui)
}

fn get(args: &PlaceArgs, global: &Global, ui: Ui) -> Outcome {
    let place = args.place()?;
    let context = context::open(global, ui)?;
    let value = secrets::get(&context, &place)?;
    if ui.json {
        let text = std::str::from_utf8(&value).map_err(|_| {
            Failure::new(Kind::Input, format!("{}: the value is not text", display(&place))).hint("leave out --json")
        })?;
        ui.result_json(&json!({ "value": text }));
    } else {
        ui.document(&value);
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    if let Some(file) = &args.file {
        let keys = secrets::keys(&context, &SecretName::parse(file)?)?;
        if ui.json {
            ui.result_json(&keys);
        } else {
            keys.iter().for_each(|key| ui.result(key));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = secrets::list(&context)?;
    if ui.json {
        ui.result_json(&rows);
    } else if rows.is_empty() {
        ui.story("no files in secrets/; `machinist secrets set FILE KEY` creates one");
    } else {
        let cells = |row: &secrets::Row| {
            vec![row.file.as_str().to_owned(), row.recipients.len().to_string(), row.last_modified.clone()]
        };
        ui.result_table(&["file", "recipients", "changed"], rows.iter().map(cells).collect());
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &PlaceArgs, global: &Global, ui: Ui) -> Outcome {
    let place = args.place()?;
    let context = context::open(global, ui)?;
    if place.key.is_empty() {
        let question = format!("remove {}? [y/N]", place.file);
        consent::ask(&question, consent::YES, &format!("{} would be removed", place.file), global)?;
    }
    secrets::remove(&context, &place)?;
    done(&place, "removed", ui)
}

fn rekey(args: &RekeyArgs, global: &Global, ui: Ui) -> Outcome {
    let files = args.files.iter().map(|file| SecretName::parse(file)).collect::<Result<Vec<_>, _>>()?;
    let context = context::open(global, ui)?;
    let scope = if args.everything { Scope::All } else { Scope::Stale };
    let _ended = signals::end_on(context.interrupt.clone());
    let done = secrets::rekey(&context, &scope, &files)?;
    if ui.json {
        ui.result_json(&done);
    } else {
        ui.result(&format!("{} files have new keys, {} were current", done.rekeyed.len(), done.current));
        if !done.rekeyed.is_empty() {
            ui.story("who could decrypt an older version still can: change values that a removed recipient knew");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let (files, findings) = secrets::check(&context)?;
    let to_do = findings.iter().filter(|finding| !finding.problem.is_remark()).count();
    if ui.json {
        ui.result_json(&json!({ "files": files, "findings": findings }));
    } else {
        findings.iter().for_each(|finding| ui.result(&line(finding, ui)));
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        let stale =
            findings.iter().any(|found| matches!(found.problem, Problem::TooMany { .. } | Problem::TooFew { .. }));
        ui.story(&format!("{files}, {to_do} to do"));
        if stale {
            ui.story("`machinist secrets rekey` encrypts files to their recipients");
        }
    }
    Ok(if to_do > 0 { ExitCode::from(SOMETHING_TO_DO) } else { ExitCode::SUCCESS })
}

fn line(Finding { file, problem }: &Finding, ui: Ui) -> String {
    let text = match problem {
        Problem::Missing => "missing, but machines.nix names it".to_owned(),
        Problem::Unreferenced => "no node decrypts it".to_owned(),
        Problem::Broken { why } => return why.clone(),
        Problem::TooMany { who } => format!("{who} can decrypt it, and need not"),
        Problem::TooFew { who } => format!("{who} cannot decrypt it"),
        Problem::NoHostKey { who } => format!("{who} cannot decrypt it: its SSH host key is not known yet"),
    };
    format!("{}: {text}", ui.paint(Tone::Strong, &file.to_string()))
}

fn display(place: &Place) -> String {
    let key: Vec<String> = place.key.iter().map(ToString::to_string).collect();
    if key.is_empty() { place.file.to_string() } else { format!("{} {}", place.file, key.join("/")) }
}

fn done(place: &Place, verb: &str, ui: Ui) -> Outcome {
    if ui.json {
        ui.result_json(&json!({ "file": place.file, verb: true }));
    } else {
        ui.story(&format!("{}: {verb}", display(place)));
    }
    Ok(ExitCode::SUCCESS)
}
