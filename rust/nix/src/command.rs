//! Runs the nix programs: found once, with a time limit, errors trimmed.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    FlakeRef, NixError, PathInfo, StorePath, environment,
    flake_lock::{Locks, Metadata},
    info,
};

/// Time limit of evaluating machines.nix. It is plain data; only a loop takes longer.
pub const BOUND: Duration = Duration::from_secs(60);

/// Time limit of fetching inputs.
const FETCH_BOUND: Duration = Duration::from_secs(300);

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

/// The result of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// The store paths, in the order of the attributes.
    pub paths: Vec<StorePath>,
    /// Warnings of the evaluation, such as NixOS' `warnings`.
    pub warnings: Vec<String>,
}

/// The result of a finished program.
#[derive(Debug)]
pub(crate) struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
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

    /// Builds attributes of a flake, all in one process, with links to the results that protect them from garbage
    /// collection: `link` for the first, `link-1` for the second and so on.
    ///
    /// # Errors
    /// The evaluation or a build fails; the message is nix' own, trimmed.
    pub fn build(&self, flake: &FlakeRef, attributes: &[String], link: &Path) -> Result<Built, NixError> {
        if attributes.is_empty() {
            return Ok(Built::default());
        }
        let mut arguments = self.flake_arguments("build");
        arguments.extend(["--json".into(), "--out-link".into(), link.as_os_str().to_owned()]);
        arguments.extend(attributes.iter().map(|attribute| flake.attribute(attribute).into()));
        let finished = run("nix", &arguments, None)?;
        let command =
            format!("nix build {}", attributes.iter().map(|a| flake.attribute(a)).collect::<Vec<_>>().join(" "));
        let warnings = warnings(&finished.stderr);
        let stdout = finished.success(&command).map_err(|error| of_submodule(error, flake))?;
        let paths = parse_build(&stdout, attributes.len())?;
        Ok(Built { paths, warnings })
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

    /// Evaluates attributes of a flake to their derivations, all in one process, without building.
    ///
    /// # Errors
    /// The evaluation fails; the message is nix' own, trimmed.
    pub fn derivations(&self, flake: &FlakeRef, attributes: &[String]) -> Result<Built, NixError> {
        if attributes.is_empty() {
            return Ok(Built::default());
        }
        let mut arguments = self.flake_arguments("build");
        arguments.extend(["--json".into(), "--dry-run".into(), "--no-link".into()]);
        arguments.extend(attributes.iter().map(|attribute| flake.attribute(attribute).into()));
        let finished = run("nix", &arguments, None)?;
        let warnings = warnings(&finished.stderr);
        let stdout = finished.success("nix build --dry-run").map_err(|error| of_submodule(error, flake))?;
        let paths = parse_derivations(&stdout, attributes.len())?;
        Ok(Built { paths, warnings })
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
    fn flake_arguments(&self, verb: &str) -> Vec<OsString> {
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

impl Finished {
    /// Returns the standard output if the program succeeded.
    pub(crate) fn success(self, command: &str) -> Result<Vec<u8>, NixError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let message = match self.stderr.trim() {
            "" => format!("it exited with {}", self.status),
            _ => trim(&self.stderr),
        };
        Err(NixError::Failed { command: command.to_owned(), message })
    }
}

/// Runs a program to its end, with an optional time limit, reading both streams at once.
pub(crate) fn run(program: &str, arguments: &[OsString], bound: Option<Duration>) -> Result<Finished, NixError> {
    let mut command = environment::program(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| spawn_error(program, source))?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let status = wait(&mut child, program, bound)?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
    Ok(Finished { status, stdout, stderr })
}

fn wait(child: &mut Child, program: &str, bound: Option<Duration>) -> Result<ExitStatus, NixError> {
    let io = |source| spawn_error(program, source);
    let Some(bound) = bound else { return child.wait().map_err(io) };
    let end = Instant::now() + bound;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill().and_then(|()| child.wait()).map_err(io)?;
            return Err(NixError::Timeout { program: program.to_owned(), bound });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn read_in_background(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // Data read before an error is still worth showing.
            let _partial = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn spawn_error(program: &str, source: std::io::Error) -> NixError {
    if source.kind() == std::io::ErrorKind::NotFound {
        NixError::Missing { program: program.to_owned() }
    } else {
        NixError::Io { program: program.to_owned(), source }
    }
}

fn answer(program: &str, detail: &impl ToString) -> NixError {
    NixError::Answer { program: program.to_owned(), detail: detail.to_string() }
}

/// Removes noise: the offer to show a trace, warnings beside an error, trailing blanks.
pub(crate) fn trim(stderr: &str) -> String {
    let noise = |line: &str| {
        let line = line.trim();
        line.contains("--show-trace")
            || line.starts_with("warning: Git tree")
            || line.starts_with("warning: not writing")
            || line.starts_with("warning: the flag '--override-input")
    };
    let kept: Vec<&str> = stderr.lines().filter(|line| !noise(line)).map(str::trim_end).collect();
    let text = kept.join("\n");
    text.trim_matches('\n').to_owned()
}

/// Returns the warnings of the evaluation: `trace: warning: ...` or `evaluation warning: ...`, depending on the
/// version.
fn warnings(stderr: &str) -> Vec<String> {
    let warning = |line: &str| {
        let line = line.trim().trim_start_matches("trace: ");
        let text = line.strip_prefix("evaluation warning: ").or_else(|| line.strip_prefix("warning: "))?;
        let about_the_call =
            text.starts_with("Git tree") || text.starts_with("not writing") || text.starts_with("input '");
        (!about_the_call && line.len() < 4096).then(|| text.to_owned())
    };
    let traced = |line: &&str| line.contains("trace: ") || line.contains("evaluation warning: ");
    stderr.lines().filter(traced).filter_map(warning).collect()
}

/// Replaces the error if the evaluation is missing a file that is in a submodule of the flake's work tree.
fn of_submodule(error: NixError, flake: &FlakeRef) -> NixError {
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

fn parse_build(stdout: &[u8], wanted: usize) -> Result<Vec<StorePath>, NixError> {
    #[derive(serde::Deserialize)]
    struct Built {
        outputs: std::collections::BTreeMap<String, String>,
    }
    let built: Vec<Built> = serde_json::from_slice(stdout).map_err(|error| answer("nix build", &error))?;
    if built.len() != wanted {
        return Err(answer("nix build", &format!("{} results for {wanted} attributes", built.len())));
    }
    let out = |built: Built| built.outputs.get("out").cloned().unwrap_or_default();
    built.into_iter().map(|built| StorePath::parse(&out(built)).map_err(|error| answer("nix build", &error))).collect()
}

/// Parses the derivations listed by `nix build --dry-run --json`, in the order of the attributes.
fn parse_derivations(stdout: &[u8], wanted: usize) -> Result<Vec<StorePath>, NixError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Planned {
        drv_path: String,
    }
    let planned: Vec<Planned> = serde_json::from_slice(stdout).map_err(|error| answer("nix build", &error))?;
    if planned.len() != wanted {
        return Err(answer("nix build", &format!("{} results for {wanted} attributes", planned.len())));
    }
    let parse = |planned: Planned| StorePath::parse(&planned.drv_path).map_err(|error| answer("nix build", &error));
    planned.into_iter().map(parse).collect()
}

fn is_on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).map(|directory: PathBuf| directory.join(program)).any(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{parse_build, parse_derivations, run, trim, warnings};
    use crate::NixError;
    use std::time::Duration;

    #[test]
    fn a_program_that_hangs_is_ended_at_its_bound() {
        let error = run("sleep", &["60".into()], Some(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error, NixError::Timeout { .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_what_to_install() {
        let error = run("nix-that-is-not-there", &[], None).unwrap_err();
        assert!(matches!(&error, NixError::Missing { program } if program == "nix-that-is-not-there"));
        assert!(error.hint().unwrap().contains("install Nix"), "{error}");
    }

    #[test]
    fn noise_is_trimmed_and_the_message_stays() {
        let stderr = "warning: Git tree '/x' is dirty\nerror: no\n\n       at /x:1:2:\n(use '--show-trace' to show detailed location information)\n";
        assert_eq!(trim(stderr), "error: no\n\n       at /x:1:2:");
    }

    #[test]
    fn what_the_evaluation_warned_of_is_kept_and_the_rest_is_not() {
        let stderr = "warning: Git tree '/x' is dirty\ntrace: warning: a is old\ntrace: evaluation warning: b\n\
                      evaluation warning: c\nbuilding '/nix/store/x.drv'...\n";
        assert_eq!(warnings(stderr), ["a is old", "b", "c"]);
    }

    #[test]
    fn a_build_with_too_few_results_is_an_error() {
        let one =
            br#"[{"drvPath":"/nix/store/x.drv","outputs":{"out":"/nix/store/00000000000000000000000000000000-a"}}]"#;
        assert_eq!(parse_build(one, 1).unwrap().len(), 1);
        assert!(parse_derivations(one, 2).is_err());
        assert!(parse_derivations(one, 1).is_err(), "x.drv is not a store path");
        let planned = one.iter().copied().map(char::from).collect::<String>();
        let planned = planned.replace("x.drv", "00000000000000000000000000000000-a.drv");
        assert_eq!(
            parse_derivations(planned.as_bytes(), 1).unwrap()[0].to_string(),
            "/nix/store/00000000000000000000000000000000-a.drv"
        );
        assert!(matches!(parse_build(one, 2), Err(NixError::Answer { .. })));
    }
}
