//! Queries of the nix programs, which are found once: flakes, store paths and their records.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    io::Write,
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use crate::{
    FlakeRef, NixError, PathInfo, StorePath, environment,
    flake_lock::{Locks, Metadata},
    info,
    process::{Finished, run, spawn_error},
};

/// Time limit of evaluating machines.nix. It is plain data; only a loop takes longer.
pub const BOUND: Duration = Duration::from_secs(60);

/// Time limit of evaluating a node's configuration, inputs included.
const NODE_BOUND: Duration = Duration::from_secs(600);

/// Time limit of fetching inputs.
pub(crate) const FETCH_BOUND: Duration = Duration::from_secs(300);

/// Replacement of a flake input, as with `--override-input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The input's name, such as `nixpkgs`.
    pub input: String,
    /// The flake reference of the replacement.
    pub reference: String,
}

/// The nix programs of this computer, with the replaced inputs.
#[derive(Clone, Debug, Default)]
pub struct Nix {
    overrides: Vec<Override>,
}

impl Nix {
    /// Finds the programs.
    ///
    /// # Errors
    /// `nix` is not on PATH.
    pub fn find(overrides: Vec<Override>) -> Result<Self, NixError> {
        if is_on_path("nix") && is_on_path("nix-instantiate") {
            Ok(Self { overrides })
        } else {
            Err(NixError::Missing { program: "nix".to_owned() })
        }
    }

    /// Evaluates an attribute of a flake to JSON.
    ///
    /// # Errors
    /// The evaluation fails.
    pub(crate) fn eval_flake(&self, flake: &FlakeRef, attribute: &str) -> Result<Finished, NixError> {
        let mut arguments = self.flake_arguments("eval");
        arguments.extend(["--json".into(), flake.attribute(attribute).into()]);
        run("nix", &arguments, Some(BOUND))
    }

    /// Evaluates an option of a node's configuration to JSON, within ten minutes.
    ///
    /// # Errors
    /// The evaluation fails, or takes longer.
    pub fn eval_node(&self, flake: &FlakeRef, node: &str, option: &str) -> Result<serde_json::Value, NixError> {
        let mut arguments = self.flake_arguments("eval");
        let attribute = format!("nixosConfigurations.{node}.config.{option}");
        arguments.extend(["--json".into(), flake.attribute(&attribute).into()]);
        let value = run("nix", &arguments, Some(NODE_BOUND))?.success("nix eval")?;
        serde_json::from_slice(&value).map_err(|error| answer("nix eval", &error))
    }

    /// Returns the inputs that are replaced.
    pub(crate) fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// Writes the `flake.lock` of a flake that has none, and returns true if there is one afterwards. It is not written
    /// if an input is a work tree with uncommitted changes: no other computer could fetch the same. Nix 2.8 would lock
    /// it, later versions refuse.
    ///
    /// # Errors
    /// An input cannot be fetched, or the file cannot be read.
    pub fn lock(&self, flake: &FlakeRef) -> Result<bool, NixError> {
        let features = ["--extra-experimental-features", "nix-command flakes"];
        let mut arguments: Vec<OsString> = ["flake", "lock"].into_iter().chain(features).map(Into::into).collect();
        arguments.push(flake.reference().into());
        run("nix", &arguments, Some(FETCH_BOUND))?.success("nix flake lock")?;
        let file = flake.worktree().join(flake.directory()).join("flake.lock");
        let Ok(text) = std::fs::read(&file) else { return Ok(false) };
        let locks: Locks = serde_json::from_slice(&text).map_err(|error| answer("nix flake lock", &error))?;
        let is_uncommitted = |input: &serde_json::Value| {
            input.get("type").is_some_and(|kind| kind == "git") && input.get("rev").is_none()
        };
        if !locks.locked().iter().any(is_uncommitted) {
            return Ok(true);
        }
        std::fs::remove_file(&file).map_err(|source| NixError::Io { program: "flake.lock".to_owned(), source })?;
        Ok(false)
    }

    /// Queries the locked inputs of a flake.
    pub(crate) fn flake_metadata(&self, flake: &FlakeRef) -> Result<Metadata, NixError> {
        let mut arguments = self.flake_arguments("flake");
        arguments.insert(1, "metadata".into());
        arguments.extend(["--json".into(), flake.reference().into()]);
        let stdout = run("nix", &arguments, Some(BOUND))?.success("nix flake metadata")?;
        serde_json::from_slice(&stdout).map_err(|error| answer("nix flake metadata", &error))
    }

    /// Returns the paths that are valid in the local store: complete and registered.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn valid(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>, NixError> {
        if paths.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut arguments: Vec<OsString> = vec!["--check-validity".into(), "--print-invalid".into()];
        arguments.extend(paths.iter().map(|path| path.as_str().into()));
        let stdout = run("nix-store", &arguments, None)?.success("nix-store --check-validity")?;
        let text = String::from_utf8_lossy(&stdout);
        let invalid: BTreeSet<&str> = text.lines().map(str::trim).collect();
        Ok(paths.iter().filter(|path| !invalid.contains(path.as_str())).cloned().collect())
    }

    /// Returns the closure of the paths, references before their referrers.
    ///
    /// # Errors
    /// A path is not valid in the local store.
    pub fn closure(&self, paths: &[StorePath]) -> Result<Vec<StorePath>, NixError> {
        let mut arguments: Vec<OsString> = vec!["--query".into(), "--requisites".into()];
        arguments.extend(paths.iter().map(|path| path.as_str().into()));
        let stdout = run("nix-store", &arguments, None)?.success("nix-store --query --requisites")?;
        let text = String::from_utf8_lossy(&stdout);
        text.lines().map(|line| StorePath::parse(line).map_err(|error| answer("nix-store", &error))).collect()
    }

    /// Returns the registration of the paths in the local store's database, as `nix-store --load-db` reads it.
    ///
    /// # Errors
    /// A path is not valid in the local store.
    pub fn registration(&self, paths: &[StorePath]) -> Result<Vec<u8>, NixError> {
        let mut arguments: Vec<OsString> = vec!["--dump-db".into()];
        arguments.extend(paths.iter().map(|path| path.as_str().into()));
        run("nix-store", &arguments, None)?.success("nix-store --dump-db")
    }

    /// Returns the local store's records of the paths, in the order of `paths`.
    ///
    /// # Errors
    /// A path is not valid in the local store.
    pub fn infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, NixError> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments: Vec<OsString> = vec!["--dump-db".into()];
        arguments.extend(paths.iter().map(|path| path.as_str().into()));
        let stdout = run("nix-store", &arguments, None)?.success("nix-store --dump-db")?;
        let infos = info::parse(&String::from_utf8_lossy(&stdout))?;
        let mut known: HashMap<StorePath, PathInfo> = infos.into_iter().map(|info| (info.path.clone(), info)).collect();
        let missing = |path: &StorePath| answer("nix-store --dump-db", &format!("no record of {path}"));
        paths.iter().map(|path| known.remove(path).ok_or_else(|| missing(path))).collect()
    }

    /// Starts an import of a stream in the format of `nix-store --export`, which the caller writes.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn import(&self) -> Result<Import, NixError> {
        let mut command = environment::program("nix-store");
        command.arg("--import").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| spawn_error("nix-store", source))?;
        let stdin = child.stdin.take();
        Ok(Import { child, stdin })
    }

    /// Returns the common arguments of all calls on a flake: no lock file is written, no warning about a dirty tree, and
    /// no evaluation cache. Two evaluations of one flake at the same time collide in its database: "SQLite database is
    /// busy" is ignored by Nix, and then an attribute "is unexpectedly missing".
    pub(crate) fn flake_arguments(&self, verb: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            verb.into(),
            "--extra-experimental-features".into(),
            "nix-command flakes".into(),
            "--no-write-lock-file".into(),
            "--option".into(),
            "warn-dirty".into(),
            "false".into(),
            "--option".into(),
            "eval-cache".into(),
            "false".into(),
        ];
        for Override { input, reference } in &self.overrides {
            arguments.extend(["--override-input".into(), input.into(), reference.into()]);
        }
        arguments
    }
}

/// A running `nix-store --import`.
#[derive(Debug)]
pub struct Import {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
}

impl Import {
    /// Closes the stream and waits for the import to finish.
    ///
    /// # Errors
    /// The import failed.
    pub fn finish(mut self) -> Result<(), NixError> {
        drop(self.stdin.take());
        let output = self.child.wait_with_output().map_err(|source| spawn_error("nix-store", source))?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Finished { status: output.status, stdout: Vec::new(), stderr }.success("nix-store --import").map(drop)
    }
}

impl Write for Import {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stdin.as_mut().map_or(Ok(0), |stdin| stdin.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

pub(crate) fn answer(program: &str, detail: &impl ToString) -> NixError {
    NixError::Answer { program: program.to_owned(), detail: detail.to_string() }
}

/// Replaces the error if the evaluation is missing a file that is in a submodule of the flake's work tree.
pub(crate) fn of_submodule(error: NixError, flake: &FlakeRef) -> NixError {
    let NixError::Failed { command, message } = error else { return error };
    match missing_in_submodule(&message, flake) {
        Some(submodule) => NixError::Submodule { command, message, submodule },
        None => NixError::Failed { command, message },
    }
}

/// Returns the submodule that contains the missing file of an error message.
pub(crate) fn missing_in_submodule(message: &str, flake: &FlakeRef) -> Option<String> {
    if !message.contains("No such file") && !message.contains("not exist") {
        return None;
    }
    // Without an answer there is nothing to add to nix' own message.
    let submodules = flake.submodules().unwrap_or_default();
    let names = |submodule: &String| {
        [format!("/{submodule}/"), format!("/{submodule}'"), format!("'{submodule}/"), format!("'{submodule}'")]
            .iter()
            .any(|place| message.contains(place.as_str()))
    };
    submodules.into_iter().find(names)
}

fn is_on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).map(|directory: PathBuf| directory.join(program)).any(|file| file.is_file())
}
