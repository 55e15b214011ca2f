//! Context of an operation, built from the command line and the environment.

use std::sync::Arc;

use machinist_nix::{Nix, Override};
use machinist_operations::{
    consent::Consent,
    context::{Clock, Connections, Context},
    keyring::Keyring,
    project::Project,
};
use machinist_rollout::{Interrupt, waves::Reboots};

use crate::{
    args::Global,
    consent,
    failure::{Failure, Kind},
    progress,
    prompt::Terminal,
    report::Again,
    signals,
    ui::Ui,
};

/// Returns the context of an operation, without evaluating anything.
pub fn open(global: &Global, ui: Ui) -> Result<Context, Failure> {
    of_rollout("deploy", None, global, ui)
}

/// Returns the context of a command that changes machines: `verb` and `reboots` name the command that completes the
/// rest.
pub fn of_rollout(verb: &str, reboots: Option<Reboots>, global: &Global, ui: Ui) -> Result<Context, Failure> {
    let interrupt = Interrupt::default();
    let again = Again { verb: verb.to_owned(), directory: global.directory.clone(), reboots };
    let events = progress::events(ui, interrupt.clone(), again);
    let directory = global.directory.clone();
    Ok(Context {
        project: Project { directory, nix: nix(global)?, events: events.clone(), stage: None },
        keyring: Keyring { identity: global.identity.clone(), prompt: Arc::new(Terminal(ui)) },
        connections: Connections::Ssh { keys: global.ssh_key.iter().cloned().collect() },
        consent: consent(global),
        who: signals::who(),
        clock: Clock::system(),
        events,
        interrupt,
    })
}

fn consent(global: &Global) -> Consent {
    let global = global.clone();
    Consent::new(move |question| {
        let accepted: Vec<&str> = question.accepted.iter().map(String::as_str).collect();
        consent::ask(&question.text, &accepted, &question.consequence, &global)
    })
}

/// Returns the nix programs, with the overridden inputs.
pub fn nix(global: &Global) -> Result<Nix, Failure> {
    let overrides = overrides(global, std::env::var("MACHINIST_OVERRIDE_INPUTS").ok().as_deref())?;
    Nix::find(overrides).map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
}

/// Returns the overrides of the environment and of the command line, which replaces the former.
fn overrides(global: &Global, variable: Option<&str>) -> Result<Vec<Override>, Failure> {
    let mut overrides = Vec::new();
    for pair in variable.unwrap_or_default().split_whitespace() {
        let Some((input, reference)) = pair.split_once('=') else {
            let message = format!("MACHINIST_OVERRIDE_INPUTS holds `{pair}`, which is not of the form INPUT=FLAKE");
            return Err(Failure::new(Kind::Input, message));
        };
        overrides.push(Override { input: input.to_owned(), reference: reference.to_owned() });
    }
    for pair in global.override_input.chunks_exact(2) {
        overrides.retain(|known| known.input != pair[0]);
        overrides.push(Override { input: pair[0].clone(), reference: pair[1].clone() });
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::overrides;
    use crate::args::Global;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        global: Global,
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let line = Line::try_parse_from(["machinist", "--override-input", "nixpkgs", "path:/b"]).unwrap();
        let found = overrides(&line.global, Some("nixpkgs=path:/a disko=path:/d")).unwrap();
        let pairs: Vec<(&str, &str)> = found.iter().map(|o| (o.input.as_str(), o.reference.as_str())).collect();
        assert_eq!(pairs, [("disko", "path:/d"), ("nixpkgs", "path:/b")]);
        assert!(overrides(&line.global, Some("nixpkgs")).is_err());
    }
}
