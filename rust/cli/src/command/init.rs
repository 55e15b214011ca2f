//! `machinist init`: a cluster's directory, whole and self-contained, so that every line of it can be read and changed.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use include_dir::{Dir, include_dir};
use machinist_codegen::nix::{self, Value, set};
use machinist_model::{NodeName, load};
use machinist_nix::FlakeRef;
use machinist_operations::files;
use machinist_secrets as secrets;

use crate::{
    args::Global,
    context::nix,
    failure::{Failure, Kind, OrFail, Outcome},
    ui::Ui,
};

static MODULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../modules");
static APPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../app_modules");
static AGENT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../agent");
static MESH: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../mesh");
static TEXT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../text");
const CARGO_TOML: &str = include_str!("../../../../Cargo.toml");
const CARGO_LOCK: &str = include_str!("../../../../Cargo.lock");
const AGENT_NIX: &str = include_str!("../../../../nix/agent.nix");
const CLUSTER_NIX: &str = include_str!("../../../../nix/cluster.nix");
const FLAKE_NIX: &str = include_str!("../../../../nix/template-flake.nix");
const FLAKE_LOCK: &str = include_str!("../../../../flake.lock");
const MACHINES_NIX: &str = include_str!("../template/machines.nix");
const GITIGNORE: &str = include_str!("../template/gitignore");

/// Writes a cluster's directory. Files that are there stay as they are.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The directory; the one of -C by default
    #[arg(value_name = "DIR")]
    new_directory: Option<PathBuf>,

    /// Take this machines.nix; the flat shape of the original project is rewritten in today's
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// The cluster's name; the directory's by default
    #[arg(long)]
    name: Option<String>,

    /// Your SSH public key, which may log in to the machines [default: ~/.ssh/id_ed25519.pub or id_ecdsa.pub, id_rsa.pub]
    #[arg(long, value_name = "FILE")]
    ssh_public_key: Option<PathBuf>,

    /// Write modules/, app_modules/ and nix/ again as this version of machinist has them; `git diff` shows what changes
    #[arg(long)]
    refresh: bool,
}

/// Runs the command.
pub fn run(args: &InitArgs, global: &Global, ui: Ui) -> Outcome {
    let directory = args.new_directory.clone().unwrap_or_else(|| global.directory.clone());
    std::fs::create_dir_all(&directory).failed()?;
    let machines = machines_text(args, global, &directory, ui)?;
    let mut writer = Writer { directory: &directory, refresh: args.refresh, written: Vec::new(), kept: Vec::new() };
    writer.vendored()?;
    writer.own("flake.nix", FLAKE_NIX)?;
    writer.own("flake.lock", FLAKE_LOCK)?;
    writer.own(".gitignore", GITIGNORE)?;
    writer.own("machines.nix", &machines)?;
    if !directory.join("operators.nix").exists() {
        let text = operators_text(args, global, ui)?;
        writer.own("operators.nix", &text)?;
    }
    let (written, kept) = (writer.written, writer.kept);
    make_worktree(&directory, ui)?;
    let visible: Vec<&str> = written.iter().map(String::as_str).collect();
    FlakeRef::find(&directory).input()?.make_visible(&visible).failed()?;
    tell(&directory, &written, &kept, ui);
    Ok(ExitCode::SUCCESS)
}

/// Writes files and keeps account.
struct Writer<'a> {
    directory: &'a Path,
    refresh: bool,
    written: Vec<String>,
    kept: Vec<String>,
}

impl Writer<'_> {
    /// A file that belongs to the person as soon as it is there.
    fn own(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        if path.exists() {
            self.kept.push(name.to_owned());
            return Ok(());
        }
        files::write(&path, text).failed()?;
        self.written.push(name.to_owned());
        Ok(())
    }

    /// A file that comes with machinist: written again with `--refresh`, else kept.
    fn ours(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        match files::read_optional(&path).failed()? {
            Some(there) if there == text => Ok(()),
            Some(_) if !self.refresh => {
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

    fn vendored(&mut self) -> Result<(), Failure> {
        self.ours("nix/cluster.nix", CLUSTER_NIX)?;
        for (path, text) in module_files(&MODULES) {
            self.ours(&format!("modules/{path}"), text)?;
        }
        for (path, text) in module_files(&APPS) {
            self.ours(&format!("app_modules/{path}"), text)?;
        }
        // The agent of a mesh is built with the cluster's own nixpkgs.
        self.ours("nix/agent.nix", AGENT_NIX)?;
        self.ours("nix/agent-source/Cargo.toml", &agent_workspace())?;
        self.ours("nix/agent-source/Cargo.lock", CARGO_LOCK)?;
        for (crate_name, directory) in [("agent", &AGENT), ("mesh", &MESH), ("text", &TEXT)] {
            for (path, text) in module_files(directory) {
                self.ours(&format!("nix/agent-source/rust/{crate_name}/{path}"), text)?;
            }
        }
        Ok(())
    }
}

/// Returns the workspace's manifest for a directory that has the agent's crates alone.
fn agent_workspace() -> String {
    CARGO_TOML.replace(r#", "tests/ledger""#, "")
}

fn machines_text(args: &InitArgs, global: &Global, directory: &Path, ui: Ui) -> Result<String, Failure> {
    let Some(source) = &args.from else {
        return Ok(MACHINES_NIX.replace("@name@", cluster_name(args, directory)?.as_str()));
    };
    let text = files::read_optional(source)
        .failed()?
        .ok_or_else(|| Failure::new(Kind::Input, format!("there is no {}", source.display())))?;
    let folder = source.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let file = source.file_name().and_then(|name| name.to_str()).unwrap_or("machines.nix");
    // What has no value here may import what is written beside it only now; it is taken as it is.
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
    // The one expression that is no plain data.
    Ok(text.replacen("  cluster = {\n", "  cluster = {\n    operators = import ./operators.nix;\n", 1))
}

fn cluster_name(args: &InitArgs, directory: &Path) -> Result<NodeName, Failure> {
    if let Some(name) = &args.name {
        return NodeName::parse(name).input();
    }
    let canonical = directory.canonicalize().failed()?;
    let folder = canonical.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    NodeName::parse(&folder).or_else(|_| NodeName::parse("cluster")).failed()
}

fn operators_text(args: &InitArgs, global: &Global, ui: Ui) -> Result<String, Failure> {
    let recipient = identity(global, ui)?;
    let mut operator = set([("age", recipient.into()), ("name", user().into())]);
    match ssh_public_key(args)? {
        Some(key) => drop(operator.insert("ssh".to_owned(), key.into())),
        None => ui.warn("no SSH public key found: nobody could log in; add `ssh = \"...\";` to operators.nix"),
    }
    let header = "Who may log in to the machines as root (ssh) and decrypt the cluster's private keys (age).";
    nix::file(header, &Value::List(vec![operator.into()])).failed()
}

/// Returns the recipient of the operator's age identity, which is made if there is none. It lives outside of the
/// repository.
fn identity(global: &Global, ui: Ui) -> Result<String, Failure> {
    let path = global.identity.clone().or_else(secrets::default_identity_path).ok_or_else(|| {
        Failure::new(Kind::Input, "no place for the age identity: HOME is not set")
            .hint("set HOME, or use `--identity FILE`")
    })?;
    if path.exists() {
        return secrets::recipient_of_file(&path)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()));
    }
    let identity = secrets::generate_identity();
    secrets::write_private(&path, identity.secret().as_bytes()).failed()?;
    ui.story(&format!("made the age identity {} (keep a copy: it decrypts the cluster's keys)", path.display()));
    Ok(identity.recipient().to_owned())
}

fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default().to_lowercase();
    NodeName::parse(&name).map_or_else(|_| "operator".to_owned(), |name| name.to_string())
}

fn ssh_public_key(args: &InitArgs) -> Result<Option<String>, Failure> {
    let candidates = match &args.ssh_public_key {
        Some(path) => vec![path.clone()],
        None => {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".ssh");
            ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].map(|name| home.join(name)).into()
        }
    };
    for path in &candidates {
        if let Some(text) = files::read_optional(path).failed()? {
            let key = text.trim().to_owned();
            if key.contains("PRIVATE KEY") {
                let failure = Failure::new(Kind::Input, format!("{} is a private key", path.display()));
                return Err(failure.hint(format!("give the public one: `--ssh-public-key {}.pub`", path.display())));
            }
            return Ok(Some(key));
        }
    }
    match &args.ssh_public_key {
        Some(path) => Err(Failure::new(Kind::Input, format!("there is no {}", path.display()))),
        None => Ok(None),
    }
}

/// The flake is read through git; a directory outside of any work tree, or ignored
/// by the one around it, becomes one.
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

fn tell(directory: &Path, written: &[String], kept: &[String], ui: Ui) {
    if ui.json {
        ui.result_json(&serde_json::json!({ "directory": directory, "written": written, "kept": kept }));
        return;
    }
    let ours = ["modules/", "nix/", "app_modules/"];
    let modules = |name: &&String| ours.iter().any(|folder| name.starts_with(folder));
    for name in written.iter().filter(|name| !modules(name)) {
        ui.result(&format!("wrote {}", directory.join(name).display()));
    }
    let count = written.iter().filter(modules).count();
    if count > 0 {
        ui.result(&format!("wrote {count} files of {}/modules, app_modules and nix", directory.display()));
    }
    for name in kept {
        ui.result(&format!("kept  {}", directory.join(name).display()));
    }
    ui.result("next: edit machines.nix, then `machinist check`, `machinist certs gen`, `machinist generate`");
}

/// All files below the directory with their paths in it, those of its folders too.
fn module_files<'a>(directory: &'a Dir<'a>) -> Vec<(String, &'a str)> {
    let own = directory.files().filter_map(|file| Some((file.path().display().to_string(), file.contents_utf8()?)));
    own.chain(directory.dirs().flat_map(module_files)).collect()
}

#[cfg(test)]
mod tests {
    use super::{MODULES, agent_workspace, module_files};

    #[test]
    fn every_module_that_another_imports_is_written_folders_too() {
        let files = module_files(&MODULES);
        for wanted in ["default.nix", "etcd.nix", "kubernetes/default.nix", "kubernetes/apiserver.nix"] {
            assert!(files.iter().any(|(path, text)| path == wanted && !text.is_empty()), "{wanted}");
        }
    }

    #[test]
    fn the_agents_workspace_names_no_member_that_is_not_written() {
        assert!(agent_workspace().contains("members = [\"rust/*\"]\n"), "{}", agent_workspace());
    }
}
