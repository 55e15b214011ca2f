//! `machinist upload` and `machinist download`.

use std::path::PathBuf;

use clap::Args;
use machinist_operations::reach::transfer::{self, Arrival, Done, Download, Transferred, Upload};

use super::view;
use crate::{
    args::{Global, UnreachableArg},
    context,
    failure::{Kind, Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Path on machines, `TARGET:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    target: String,
    path: String,
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((target, path)) if !target.is_empty() && path.starts_with('/') => {
                Ok(Self { target: target.to_owned(), path: path.to_owned() })
            }
            _ => Err("expected TARGET:/PATH; a target is a name, a glob, `@role` or `label=value`".to_owned()),
        }
    }
}

/// Puts a file on machines. It replaces an earlier one when it is complete there.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where to: machines, and a path or an existing directory
    #[arg(value_name = "TARGET:PATH", value_parser = Place::parse)]
    to: Place,

    /// Permissions, such as 0640 [default: those of the file]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<u32>,

    /// Owner and group
    #[arg(long, value_name = "USER:GROUP", default_value = "root:root")]
    owner: String,

    /// What machines mean that do not answer
    #[arg(long, value_name = "HOW", value_enum, default_value_t = UnreachableArg::Fail)]
    handle_unreachable: UnreachableArg,
}

/// Fetches a file from machines. With several machines, each file becomes DIRECTORY/NODE/NAME.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Machines, and the file's path
    #[arg(value_name = "TARGET:PATH", value_parser = Place::parse)]
    from: Place,

    /// Where to: a file, or a directory
    #[arg(value_name = "FILE", default_value = ".")]
    to: PathBuf,

    /// What machines mean that do not answer
    #[arg(long, value_name = "HOW", value_enum, default_value_t = UnreachableArg::Fail)]
    handle_unreachable: UnreachableArg,
}

/// Runs `upload`.
pub fn upload(args: &UploadArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Upload {
        targets: vec![args.to.target.clone()],
        file: args.file.clone(),
        to: args.to.path.clone(),
        mode: args.mode,
        owner: args.owner.clone(),
        unreachable: args.handle_unreachable.into(),
    };
    let done = transfer::upload(&context::open(global, ui)?, &request)?;
    Ok(tell(&done, ui))
}

/// Runs `download`.
pub fn download(args: &DownloadArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Download {
        targets: vec![args.from.target.clone()],
        file: args.from.path.clone(),
        to: args.to.clone(),
        unreachable: args.handle_unreachable.into(),
    };
    let done = transfer::download(&context::open(global, ui)?, &request)?;
    Ok(tell(&done, ui))
}

fn tell(done: &Done, ui: Ui) -> std::process::ExitCode {
    if ui.json {
        ui.result_json(done);
    } else {
        done.nodes.iter().for_each(|node| line(node, ui));
    }
    exit_code((!done.is_complete()).then_some(Kind::Failed))
}

fn line(Transferred { node, result }: &Transferred, ui: Ui) {
    match result {
        Arrival::Whole { bytes, path } => {
            let size = indicatif::HumanBytes(*bytes);
            ui.result(&format!("{} {path} ({size})", ui.paint(Tone::Strong, node.as_str())));
        }
        Arrival::Missing(missing) => view::missing(node, missing, ui),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("`{text}` is not a mode such as 0640"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Place, mode};

    #[test]
    fn a_place_is_a_target_and_an_absolute_path() {
        let place = Place::parse("zone=a:/etc/x:y").unwrap();
        assert_eq!((place.target.as_str(), place.path.as_str()), ("zone=a", "/etc/x:y"));
        for text in ["casper", "casper:", "casper:x", ":/etc/x", ""] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(mode("0640"), Ok(0o640));
        assert!(mode("9").is_err() && mode("17777").is_err() && mode("rw").is_err());
    }
}
