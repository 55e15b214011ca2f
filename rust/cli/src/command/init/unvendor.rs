//! Migration from copies of the modules to a flake input: `--unvendor`.
//!
//! All checks precede the first change, and only committed files are removed: `git checkout` restores them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{flake_text, url, vendor, writer::Writer};
use crate::{
    args::Global,
    failure::{Failure, Kind, OrFail, Outcome},
    ui::Ui,
};
use machinist_operations::files;

/// Expressions by which a cluster's modules refer to the copies, with their replacements.
const REWRITTEN: [(&str, &str); 4] = [
    ("(import ../../modules/apps/app.nix { inherit config lib; })", "config.lib.machinist.app"),
    ("import ../../modules/apps/app.nix { inherit config lib; }", "config.lib.machinist.app"),
    ("(import ../../modules/types.nix { inherit lib; })", "config.lib.machinist.types"),
    ("import ../../modules/types.nix { inherit lib; }", "config.lib.machinist.types"),
];

/// Planned change.
struct Move {
    /// True if flake.nix already takes the modules from the input; it is kept then.
    has_flake: bool,
    /// Copies to remove.
    copies: Vec<String>,
    /// Folders of app_modules that differ from machinist's: the cluster's own applications.
    own_apps: Vec<String>,
    /// The cluster's own files, with their new text.
    rewritten: BTreeMap<PathBuf, String>,
    /// Files among the copies that are not part of this version.
    left: Vec<String>,
}

/// Runs `machinist init --unvendor`.
pub fn run(directory: &Path, url: Option<&str>, global: &Global, ui: Ui) -> Outcome {
    let url = url::url(url)?;
    let change = plan(directory)?;
    for name in &change.copies {
        files::remove(&directory.join(name)).failed()?;
    }
    remove_empty_folders(directory);
    for (path, text) in &change.rewritten {
        files::write(path, text).failed()?;
    }
    if !change.has_flake {
        // The lock too: the new flake has different inputs.
        for name in ["flake.nix", "flake.lock"] {
            files::remove(&directory.join(name)).failed()?;
        }
    }
    let mut writer = Writer::new(directory);
    writer.own("flake.nix", &flake_text(&url))?;
    writer.make_visible()?;
    writer.lock(&url, global, ui)?;
    report(&change, ui);
    Ok(ExitCode::SUCCESS)
}

fn report(change: &Move, ui: Ui) {
    if ui.json {
        ui.result_json(&serde_json::json!({
            "removed": change.copies, "own_apps": change.own_apps, "rewritten": change.rewritten.keys().collect::<Vec<_>>(),
            "left": change.left,
        }));
        return;
    }
    ui.result(&format!("removed {} copies; flake.nix has the input machinist in their place", change.copies.len()));
    for app in &change.own_apps {
        ui.result(&format!("kept    app_modules/{app}: it differs from machinist's, and takes its place"));
    }
    for path in change.rewritten.keys() {
        ui.result(&format!("changed {}: it reaches machinist's library by config.lib.machinist", path.display()));
    }
    for name in &change.left {
        ui.result(&format!("left    {name}: this version of machinist does not have it"));
    }
    ui.result(
        "next: `machinist plan` shows what this changes on the machines. nixpkgs, disko and sops-nix are machinist's pins now; \
         an input of such a name in flake.nix comes first",
    );
}

/// Returns the planned changes, or the reason why the directory cannot be migrated.
fn plan(directory: &Path) -> Result<Move, Failure> {
    if !vendor::is_vendored(directory) {
        return Err(Failure::new(Kind::Input, format!("{} has no copies of the modules", directory.display())));
    }
    if directory.join("nix/template-flake.nix").exists() {
        return Err(Failure::new(Kind::Input, format!("{} is machinist itself", directory.display())));
    }
    check_committed(directory)?;
    let mut change = Move {
        has_flake: has_flake(directory)?,
        copies: Vec::new(),
        own_apps: own_apps(directory)?,
        rewritten: rewritten(directory)?,
        left: Vec::new(),
    };
    let mut edited = Vec::new();
    let copies: BTreeMap<String, String> = vendor::files().into_iter().collect();
    for (name, text) in &copies {
        let is_of_own_app = change.own_apps.iter().any(|app| name.starts_with(&format!("app_modules/{app}/")));
        match files::read_optional(&directory.join(name)).failed()? {
            _ if is_of_own_app => {}
            None => {}
            Some(there) if there == *text => change.copies.push(name.clone()),
            Some(_) => edited.push(name.clone()),
        }
    }
    if !edited.is_empty() {
        let message = format!("files differ from those of this version of machinist: {}", edited.join(", "));
        return Err(Failure::new(Kind::Refused, message).hint(
            "`machinist init --refresh` writes them again; keep changes of your own in nodes/ or app_modules/, commit, and run this again",
        ));
    }
    for folder in ["modules", "nix"] {
        let below = all_files(&directory.join(folder));
        let names = below.iter().filter_map(|path| path.strip_prefix(directory).ok());
        change.left.extend(names.map(|path| path.display().to_string()).filter(|name| !copies.contains_key(name)));
    }
    Ok(change)
}

/// Refuses to remove uncommitted files.
fn check_committed(directory: &Path) -> Result<(), Failure> {
    let paths = ["status", "--porcelain", "--", "modules", "app_modules", "nix", "nodes", "flake.nix", "flake.lock"];
    let output = machinist_nix::program("git").arg("-C").arg(directory).args(paths).output().failed()?;
    let changed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() && changed.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Kind::Refused, "files to remove are not committed, so git could not restore them");
    Err(failure.hint(format!("commit first:\n{changed}")))
}

/// Returns true if flake.nix already takes the modules from the input. A modified flake.nix is left to its author.
fn has_flake(directory: &Path) -> Result<bool, Failure> {
    let there = files::read_optional(&directory.join("flake.nix")).failed()?.unwrap_or_default();
    if there == vendor::FLAKE_NIX || there.contains("lib.mkCluster") {
        return Ok(there != vendor::FLAKE_NIX);
    }
    let failure = Failure::new(Kind::Refused, "flake.nix is not the one that `machinist init` wrote");
    Err(failure.hint(
        "let it take the modules from an input yourself, commit, and run this again: `inputs.machinist.url = \"URL\";` and, in the \
         place of `import ./nix/cluster.nix`, `inputs.machinist.lib.mkCluster`",
    ))
}

/// Returns the applications that are not, or not only, machinist's.
fn own_apps(directory: &Path) -> Result<Vec<String>, Failure> {
    let ours: BTreeMap<String, String> = vendor::files().into_iter().collect();
    let mut own = Vec::new();
    for app in files::folders(&directory.join("app_modules")) {
        let mut differs = false;
        for path in all_files(&directory.join("app_modules").join(&app)) {
            let name = path.strip_prefix(directory).map(|path| path.display().to_string()).unwrap_or_default();
            let text = files::read_optional(&path).failed()?;
            differs |= ours.get(&name) != text.as_ref();
        }
        if differs {
            own.push(app);
        }
    }
    Ok(own)
}

/// Returns the cluster's own files that refer to the copies, with their new text.
fn rewritten(directory: &Path) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let own = own_apps(directory)?;
    let folders = own.iter().map(|app| directory.join("app_modules").join(app)).chain([directory.join("nodes")]);
    let mut rewritten = BTreeMap::new();
    let mut unclear = Vec::new();
    for path in folders
        .flat_map(|folder| all_files(&folder))
        .filter(|path| path.extension().is_some_and(|ending| ending == "nix"))
    {
        let text = files::read_optional(&path).failed()?.unwrap_or_default();
        let new = REWRITTEN.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to));
        if new.contains("../modules/") || new.contains("../nix/") {
            unclear.push(path.display().to_string());
        } else if new != text {
            rewritten.insert(path, new);
        }
    }
    if unclear.is_empty() {
        return Ok(rewritten);
    }
    let failure = Failure::new(Kind::Refused, format!("these files import the copies: {}", unclear.join(", ")));
    Err(failure.hint("use `config.lib.machinist` in them, or copy what they need beside them; then run this again"))
}

/// Returns all files below a folder, or none if it does not exist. Symbolic links are not followed.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = files::names(folder).into_iter().map(|name| folder.join(name)).collect();
    found.extend(folders(folder).iter().flat_map(|folder| all_files(folder)));
    found
}

/// Returns the subfolders of a folder, without symbolic links.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let paths = files::folders(folder).into_iter().map(|name| folder.join(name));
    paths.filter(|path| !path.is_symlink()).collect()
}

/// Removes the emptied folders of the copies. git does not track empty folders, so a remaining one is harmless.
fn remove_empty_folders(directory: &Path) {
    for folder in ["modules", "app_modules", "nix"] {
        remove_if_empty(&directory.join(folder));
    }
}

fn remove_if_empty(folder: &Path) {
    for inner in folders(folder) {
        remove_if_empty(&inner);
    }
    let _stays_if_not_empty = fs::remove_dir(folder);
}
