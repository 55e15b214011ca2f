//! Files written by `init`, and the record of them.

use std::path::Path;

use machinist_nix::FlakeRef;

use super::url;
use crate::{
    args::Global,
    context::nix,
    failure::{Failure, OrFail},
    ui::Ui,
};
use machinist_operations::files;

/// Writer of files that records its actions.
pub struct Writer<'a> {
    directory: &'a Path,
    written: Vec<String>,
    kept: Vec<String>,
}

impl<'a> Writer<'a> {
    /// Creates a writer for this directory.
    pub const fn new(directory: &'a Path) -> Self {
        Self { directory, written: Vec::new(), kept: Vec::new() }
    }

    /// Writes a file that is the user's own once it exists.
    pub fn own(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        if path.exists() {
            self.kept.push(name.to_owned());
            return Ok(());
        }
        files::write(&path, text).failed()?;
        self.written.push(name.to_owned());
        Ok(())
    }

    /// Writes a file that is part of machinist: always with `refresh`, otherwise only if it is missing.
    pub fn ours(&mut self, name: &str, text: &str, refresh: bool) -> Result<(), Failure> {
        let path = self.directory.join(name);
        match files::read_optional(&path).failed()? {
            Some(there) if there == text => Ok(()),
            Some(_) if !refresh => {
                self.kept.push(name.to_owned());
                Ok(())
            }
            _ => {
                files::write(&path, text).failed()?;
                self.written.push(name.to_owned());
                Ok(())
            }
        }
    }

    /// Makes the written files visible to the flake.
    pub fn make_visible(&self) -> Result<(), Failure> {
        let written: Vec<&str> = self.written.iter().map(String::as_str).collect();
        FlakeRef::find(self.directory).input()?.make_visible(&written).failed()
    }

    /// Generates `flake.lock` by nix. Without a network, or if machinist's work tree has uncommitted changes, none is
    /// generated yet, which is reported.
    pub fn lock(&mut self, url: &str, global: &Global, ui: Ui) -> Result<(), Failure> {
        if url::is_in_store(url) {
            ui.warn(&format!(
                "inputs.machinist is this program's own source, {url}, which other computers do not have; \
                 write the URL of a repository into flake.nix, or use `--machinist-url`"
            ));
        }
        let lock = self.directory.join("flake.lock");
        if lock.exists() {
            self.kept.push("flake.lock".to_owned());
            return Ok(());
        }
        let flake = FlakeRef::find(self.directory).input()?;
        let reason = match nix(global)?.lock(&flake) {
            Ok(true) => {
                self.written.push("flake.lock".to_owned());
                return Ok(());
            }
            Ok(false) => format!("{url} has uncommitted changes"),
            Err(error) => Failure::from_error(crate::failure::Kind::Failed, &error).in_one_line(),
        };
        ui.warn(&format!("flake.lock is not written: {reason}; `nix flake lock` in the directory writes it"));
        Ok(())
    }

    /// Prints which files were written and which were kept.
    pub fn report(&self, is_vendored: bool, ui: Ui) {
        let Self { directory, written, kept } = self;
        if ui.json {
            ui.result_json(&serde_json::json!({ "directory": directory, "written": written, "kept": kept }));
            return;
        }
        let is_copy = |name: &&String| {
            is_vendored && ["modules/", "nix/", "app_modules/"].iter().any(|folder| name.starts_with(folder))
        };
        for name in written.iter().filter(|name| !is_copy(name)) {
            ui.result(&format!("wrote {}", directory.join(name).display()));
        }
        let count = written.iter().filter(is_copy).count();
        if count > 0 {
            ui.result(&format!("wrote {count} files of {}/modules, app_modules and nix", directory.display()));
        }
        for name in kept {
            ui.result(&format!("kept  {}", directory.join(name).display()));
        }
        ui.result("next: edit machines.nix, then `machinist check`, `machinist certs gen`, `machinist generate`");
    }
}
