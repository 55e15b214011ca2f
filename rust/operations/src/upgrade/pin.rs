//! Change of the pin of nixpkgs: computed in a copy of the directory, and written only when the upgrade begins.

use machinist_nix::pin::{LockFile, Pin, PinError};

use super::record::Record;
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    files,
    project::Project,
};

/// Name of the lock file.
pub(super) const LOCK: &str = "flake.lock";

/// The pin before and after.
pub(super) struct Pins {
    pub before: Pin,
    pub after: Pin,
}

/// Returns the record of a new upgrade: the lock file as it is, and as it will be. Writes nothing.
pub(super) fn propose(context: &Context, to: &str) -> Result<Record, Failure> {
    let project = &context.project;
    let before = lock_text(project)?;
    let pin = LockFile::parse(&before).and_then(|lock| lock.nixpkgs()).map_err(|error| of_pin(&error))?;
    refuse_replaced(project, &pin)?;
    let flake = project.flake()?;
    if !flake.is_committed(LOCK).failed()? {
        let failure = Failure::new(Kind::Refused, "flake.lock has changes that are not committed");
        return Err(failure.hint("`git diff flake.lock` shows them; commit or `git checkout flake.lock` first"));
    }
    let reference = pin.reference(to).map_err(|error| of_pin(&error))?;
    let copy = tempfile::Builder::new().prefix("machinist-upgrade-").tempdir().failed()?;
    let (flake, directory) = project.copy(copy.path())?;
    context.events.progress(format!("locking {} to {reference}", pin.input));
    project.nix.pin(&flake, &pin.input, &reference).map_err(|error| {
        Failure::from_error(Kind::Failed, &error)
            .hint("nothing was changed; `nix flake metadata REFERENCE` tries it alone")
    })?;
    let after = std::fs::read_to_string(directory.join(LOCK)).failed()?;
    Ok(Record::new(to.to_owned(), reference, before, after))
}

/// Parses both lock files. Refuses a change of another input.
pub(super) fn pins(record: &Record) -> Result<Pins, Failure> {
    let parse = |text: &str| LockFile::parse(text).map_err(|error| of_pin(&error));
    let (before, after) = (parse(&record.before)?, parse(&record.after)?);
    let pin = before.nixpkgs().map_err(|error| of_pin(&error))?;
    let others = before.other_changes(&after, &pin);
    if !others.is_empty() {
        let message = format!("nix would lock other inputs again, too: {}", others.join(", "));
        return Err(Failure::new(Kind::Refused, message).hint("`nix flake lock` first, and commit flake.lock"));
    }
    Ok(Pins { after: after.nixpkgs().map_err(|error| of_pin(&error))?, before: pin })
}

/// Refuses to continue an upgrade if the lock file is neither the old nor the new one.
pub(super) fn refuse_foreign(project: &Project, record: &Record) -> Result<(), Failure> {
    let now = lock_text(project)?;
    if now == record.before || now == record.after {
        return Ok(());
    }
    let message = format!("flake.lock has changed since the upgrade to {} began", record.to);
    Err(Failure::new(Kind::Refused, message)
        .hint("`machinist upgrade --abort` writes the lock file from before it; `git stash` keeps yours"))
}

/// Refuses to deploy a stage from another lock file than that of the upgrade: hours may have passed since it was written.
pub(super) fn refuse_changed(project: &Project, record: &Record) -> Result<(), Failure> {
    let is_same = Record::read(project)?.is_some_and(|now| now.after == record.after);
    if is_same && lock_text(project)? == record.after {
        return Ok(());
    }
    let message = format!("flake.lock, or the record of the upgrade to {}, was changed by somebody else", record.to);
    Err(Failure::new(Kind::Refused, message).hint("`machinist upgrade --continue` writes the new flake.lock again"))
}

/// Writes the lock file.
pub(super) fn write(project: &Project, text: &str) -> Result<(), Failure> {
    files::write(&project.directory.join(LOCK), text).failed()
}

fn lock_text(project: &Project) -> Result<String, Failure> {
    files::read_optional(&project.directory.join(LOCK)).failed()?.ok_or_else(|| {
        Failure::new(Kind::Input, "the directory has no flake.lock, so nothing is pinned")
            .hint("`nix flake lock`, and commit flake.lock")
    })
}

/// Refuses an input that is replaced on the command line or in the environment: its lock has no effect.
fn refuse_replaced(project: &Project, pin: &Pin) -> Result<(), Failure> {
    if !project.nix.replaces(&pin.input) {
        return Ok(());
    }
    let message = format!("{} is replaced by another flake, so its pin in flake.lock has no effect", pin.input);
    Err(Failure::new(Kind::Input, message).hint("leave out --override-input, and MACHINIST_OVERRIDE_INPUTS"))
}

fn of_pin(error: &PinError) -> Failure {
    let hint = match error {
        PinError::NoBranches(..) => Some("name a flake reference, such as github:NixOS/nixpkgs/nixos-26.05, or a path"),
        PinError::NoInput | PinError::Format(_) => None,
    };
    Failure::from_error(Kind::Input, error).maybe_hint(hint.map(str::to_owned))
}
