//! `machinist init`: a cluster's directory.
//!
//! Its flake takes the modules from its input machinist. With `--vendor` the directory contains copies of them, so that
//! every line can be read and changed there.

mod operator;
mod template;
mod unvendor;
mod url;
mod vendor;
mod writer;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use machinist_codegen::nix::{self, Value};
use machinist_model::{NodeName, load};
use machinist_nix::FlakeRef;

use self::writer::Writer;
use crate::{
    args::Global,
    context::nix,
    failure::{Failure, Kind, OrFail, Outcome},
    ui::Ui,
};
use machinist_operations::files;

const FLAKE_NIX: &str = include_str!("../template/flake.nix");
const MACHINES_NIX: &str = include_str!("../template/machines.nix");
const GITIGNORE: &str = include_str!("../template/gitignore");

/// Writes a cluster's directory. Existing files are kept.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The directory; the one of -C by default
    #[arg(value_name = "DIR")]
    new_directory: Option<PathBuf>,

    /// Start from this template; --list-templates names them
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    template: Option<String>,

    /// List the templates
    #[arg(long)]
    list_templates: bool,

    /// Use this machines.nix; the flat shape of the original project is converted to today's
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The cluster's name; the directory's by default
    #[arg(long)]
    name: Option<String>,

    /// Your SSH public key, which may log in to the machines [default: ~/.ssh/id_ed25519.pub or id_ecdsa.pub, id_rsa.pub]
    #[arg(long, value_name = "FILE")]
    ssh_public_key: Option<PathBuf>,

    /// URL of machinist's flake, the cluster's only input [default: where this program comes from]
    #[arg(long, value_name = "URL", conflicts_with = "vendor")]
    machinist_url: Option<String>,

    /// Copy the modules and applications into the directory, instead of an input
    #[arg(long)]
    vendor: bool,

    /// Update the copies of modules, applications and nix/ to this version of machinist; `git diff` shows the changes
    #[arg(long)]
    refresh: bool,

    /// Remove the copies of --vendor, and take the modules from an input
    #[arg(long, conflicts_with_all = ["vendor", "refresh", "from", "template"])]
    unvendor: bool,
}

/// Runs the command.
pub fn run(args: &InitArgs, global: &Global, ui: Ui) -> Outcome {
    if args.list_templates {
        return Ok(list_templates(ui));
    }
    let directory = args.new_directory.clone().unwrap_or_else(|| global.directory.clone());
    if args.unvendor {
        return unvendor::run(&directory, args.machinist_url.as_deref(), global, ui);
    }
    let is_vendored = args.vendor || vendor::is_vendored(&directory);
    refuse_second_library(&directory, args.vendor)?;
    // Invalid arguments must fail before anything is written.
    let url = if is_vendored { None } else { Some(url::url(args.machinist_url.as_deref())?) };
    let beginning = beginning(args, global, &directory, ui)?;
    std::fs::create_dir_all(&directory).failed()?;

    let mut writer = Writer::new(&directory);
    match &url {
        None => {
            for (path, text) in vendor::files() {
                writer.ours(&path, &text, args.refresh)?;
            }
            writer.own("flake.nix", vendor::FLAKE_NIX)?;
            writer.own("flake.lock", vendor::FLAKE_LOCK)?;
        }
        Some(url) => writer.own("flake.nix", &flake_text(url))?,
    }
    writer.own(".gitignore", GITIGNORE)?;
    writer.own("machines.nix", &beginning.machines)?;
    for (path, text) in &beginning.files {
        writer.own(path, text)?;
    }
    if !directory.join("operators.nix").exists() {
        writer.own("operators.nix", &operator::operators_text(args, global, ui)?)?;
    }
    make_worktree(&directory, ui)?;
    writer.make_visible()?;
    if let Some(url) = &url {
        writer.lock(url, global, ui)?;
    }
    writer.report(is_vendored, ui);
    if args.refresh && !ui.json {
        ui.result(refreshed(is_vendored));
    }
    Ok(ExitCode::SUCCESS)
}

fn list_templates(ui: Ui) -> ExitCode {
    if ui.json {
        ui.result_json(&template::all());
    } else {
        let rows = template::all().into_iter().map(|(name, description)| vec![name, description]).collect();
        ui.result_table(&["TEMPLATE", "WHAT IT IS"], rows);
    }
    ExitCode::SUCCESS
}

/// Returns the command to run after a `--refresh`, depending on the location of the modules.
const fn refreshed(is_vendored: bool) -> &'static str {
    if is_vendored {
        "offer: this directory has copies of the modules. Commit, then `machinist init --unvendor` moves it over to a flake input"
    } else {
        "the modules are those of the input machinist: `nix flake update machinist` (before Nix 2.19: \
         `nix flake lock --update-input machinist`) takes its newest version"
    }
}

/// Refuses copies that would have no effect beside a flake that takes the modules from an input.
fn refuse_second_library(directory: &Path, vendor: bool) -> Result<(), Failure> {
    let flake = files::read_optional(&directory.join("flake.nix")).failed()?;
    if vendor && flake.is_some_and(|text| text.contains("lib.mkCluster")) {
        let message = format!("{} takes the modules from an input", directory.join("flake.nix").display());
        return Err(
            Failure::new(Kind::Input, message).hint("remove flake.nix and flake.lock first to copy them instead")
        );
    }
    Ok(())
}

/// Renders a cluster's `flake.nix` with machinist at this URL as its input.
fn flake_text(url: &str) -> String {
    FLAKE_NIX.replace("@url@", url)
}

/// Returns the cluster's machines, and the accompanying files.
fn beginning(args: &InitArgs, global: &Global, directory: &Path, ui: Ui) -> Result<template::Template, Failure> {
    let name = cluster_name(args, directory)?;
    match (&args.template, &args.from) {
        (Some(template), _) => template::find(template, name.as_str()),
        (None, Some(source)) => {
            let machines = machines_text(source, global, ui)?;
            Ok(template::Template { machines, files: Vec::new() })
        }
        (None, None) => {
            let machines = MACHINES_NIX.replace("@name@", name.as_str());
            Ok(template::Template { machines, files: Vec::new() })
        }
    }
}

fn machines_text(source: &Path, global: &Global, ui: Ui) -> Result<String, Failure> {
    let text = files::read_optional(source)
        .failed()?
        .ok_or_else(|| Failure::new(Kind::Input, format!("there is no {}", source.display())))?;
    let folder = source.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let file = source.file_name().and_then(|name| name.to_str()).unwrap_or("machines.nix");
    // A file that failed to evaluate here may import one that is only written now; it is taken unchanged.
    let json = match nix(global)?.evaluate_file(folder, file) {
        Ok(json) => json,
        Err(error) => {
            let why = error.to_string();
            let first = why.lines().next().unwrap_or_default();
            ui.warn(&format!(
                "{} is copied as it is ({first}); `machinist check` says whether it holds",
                source.display()
            ));
            return Ok(text);
        }
    };
    let Some(today) = load::convert_flat(&json) else { return Ok(text) };
    let header = "The whole cluster, rewritten by `machinist init` from the flat shape. Comments stayed behind.";
    let mut value = Value::from(&today);
    if let Value::Set(sections) = &mut value
        && let Some(Value::Set(cluster)) = sections.get_mut("cluster")
    {
        cluster.remove("operators");
    }
    let text = nix::file(header, &value).failed()?;
    // The only expression that is not plain data.
    Ok(text.replacen("  cluster = {\n", "  cluster = {\n    operators = import ./operators.nix;\n", 1))
}

fn cluster_name(args: &InitArgs, directory: &Path) -> Result<NodeName, Failure> {
    if let Some(name) = &args.name {
        return NodeName::parse(name).input();
    }
    let canonical = directory.canonicalize().or_else(|_| std::path::absolute(directory)).failed()?;
    let folder = canonical.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    NodeName::parse(&folder).or_else(|_| NodeName::parse("cluster")).failed()
}

/// Creates a git work tree, through which the flake is read, if the directory is outside of any or is ignored by the
/// surrounding one.
fn make_worktree(directory: &Path, ui: Ui) -> Result<(), Failure> {
    let has_worktree = FlakeRef::has_worktree(directory)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    if has_worktree {
        return Ok(());
    }
    let made = machinist_nix::program("git").arg("-C").arg(directory).args(["init", "--quiet"]).output().failed()?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(Failure::new(Kind::Failed, format!("`git init` failed: {said}")));
    }
    ui.story("made a git repository: machinist reads a cluster through git");
    Ok(())
}
