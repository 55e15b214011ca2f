//! Builds of flake attributes, and the reasons of builds that failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use crate::{
    FlakeRef, Nix, NixError, StorePath,
    command::{answer, of_submodule},
    process::{Watch, run, watched},
};

/// A request to build attributes of a flake.
pub struct Build<'a> {
    /// The flake.
    pub flake: &'a FlakeRef,
    /// The attributes, such as `nixosConfigurations.a.config.system.build.toplevel`.
    pub attributes: &'a [String],
    /// Protects the results from garbage collection: `link` for the first attribute, `link-1` for the second and so on.
    pub link: &'a Path,
    /// True if builds continue after one failed, so that all failures are known.
    pub keep_going: bool,
    /// Observer of the build's messages.
    pub watch: &'a dyn Watch,
}

/// The result of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// The store paths, in the order of the attributes.
    pub paths: Vec<StorePath>,
    /// The derivations that they come from, in the same order, as far as nix reports them.
    pub derivations: Vec<Option<StorePath>>,
    /// Warnings of the evaluation, such as NixOS' `warnings`.
    pub warnings: Vec<String>,
}

/// The result of an evaluation without a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// The derivations, in the order of the attributes.
    pub derivations: Vec<StorePath>,
    /// The derivations, also dependencies, that neither the store nor a substituter has.
    pub to_build: BTreeSet<StorePath>,
    /// Warnings of the evaluation.
    pub warnings: Vec<String>,
}

/// A derivation that could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedBuild {
    /// The derivation.
    pub derivation: StorePath,
    /// The message of nix, with the last lines of the log.
    pub message: String,
}

impl Nix {
    /// Builds attributes of a flake, all in one process.
    ///
    /// # Errors
    /// The evaluation or a build fails, with the message of nix, trimmed; or the observer stopped it.
    pub fn build(&self, build: &Build<'_>) -> Result<Built, NixError> {
        let Build { flake, attributes, link, keep_going, watch } = *build;
        if attributes.is_empty() {
            return Ok(Built::default());
        }
        let mut arguments = self.flake_arguments("build");
        arguments.extend(["--json".into(), "--out-link".into(), link.as_os_str().to_owned()]);
        if keep_going {
            arguments.push("--keep-going".into());
        }
        arguments.extend(attributes.iter().map(|attribute| flake.attribute(attribute).into()));
        let finished = watched("nix", &arguments, watch)?;
        let command =
            format!("nix build {}", attributes.iter().map(|a| flake.attribute(a)).collect::<Vec<_>>().join(" "));
        let warnings = warnings(&finished.stderr);
        let stdout = finished.success(&command).map_err(|error| of_submodule(error, flake))?;
        Ok(Built { warnings, ..parse_build(&stdout, attributes.len())? })
    }

    /// Evaluates attributes of a flake to their derivations, all in one process, without building.
    ///
    /// # Errors
    /// The evaluation fails; the message is nix' own, trimmed.
    pub fn derivations(&self, flake: &FlakeRef, attributes: &[String]) -> Result<Planned, NixError> {
        if attributes.is_empty() {
            return Ok(Planned::default());
        }
        let mut arguments = self.flake_arguments("build");
        arguments.extend(["--json".into(), "--dry-run".into(), "--no-link".into()]);
        arguments.extend(attributes.iter().map(|attribute| flake.attribute(attribute).into()));
        let finished = run("nix", &arguments, None)?;
        let warnings = warnings(&finished.stderr);
        let to_build = to_build(&finished.stderr);
        let stdout = finished.success("nix build --dry-run").map_err(|error| of_submodule(error, flake))?;
        Ok(Planned { derivations: parse_derivations(&stdout, attributes.len())?, to_build, warnings })
    }

    /// Links to a path of the local store, and protects it from garbage collection as long as the link exists. An
    /// existing link is replaced.
    ///
    /// # Errors
    /// The path is not valid, or the link cannot be written.
    pub fn link(&self, path: &StorePath, link: &Path) -> Result<(), NixError> {
        let mut arguments: Vec<OsString> =
            ["--realise", path.as_str(), "--indirect", "--add-root"].map(Into::into).into();
        arguments.push(link.as_os_str().to_owned());
        run("nix-store", &arguments, None)?.success("nix-store --realise").map(drop)
    }
}

/// Returns the derivations that could not be built, by nix' messages. Derivations that only depend on one of these are
/// left out. Empty if the message is about something else, such as an evaluation.
#[must_use]
pub fn failed_builds(message: &str) -> Vec<FailedBuild> {
    let mut failed: Vec<FailedBuild> = Vec::new();
    for block in blocks(message) {
        if let Some(derivation) = failed_derivation(&block)
            && !failed.iter().any(|known| known.derivation == derivation)
        {
            let message = block.lines().take_while(|line| !line.trim().starts_with("For full logs, run"));
            failed.push(FailedBuild { derivation, message: message.collect::<Vec<_>>().join("\n") });
        }
    }
    failed
}

/// Splits messages at each line that begins with `error:`, and drops the text before the first.
fn blocks(message: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in message.lines() {
        // Progress is printed between the errors.
        if line.starts_with("building '") || line.starts_with("copying path '") {
            continue;
        }
        match (line.strip_prefix("error: "), blocks.last_mut()) {
            (Some(text), _) => blocks.push(text.to_owned()),
            (None, Some(block)) => {
                block.push('\n');
                block.push_str(line.strip_prefix("       ").unwrap_or(line));
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Beginnings of the messages about a build of its own: of Nix 2.8 to 2.30, and of later versions ("Cannot build").
const FAILURES: [&str; 6] =
    ["builder for '", "build of '", "Cannot build '", "hash mismatch in fixed-output derivation '", "output '", "a '"];

fn failed_derivation(block: &str) -> Option<StorePath> {
    let first = block.lines().next()?;
    if !FAILURES.iter().any(|start| first.starts_with(start)) || is_about_a_dependency(block) {
        return None;
    }
    let quoted = first.split('\'').skip(1).step_by(2);
    quoted.filter(|word| word.ends_with(".drv")).find_map(|word| StorePath::parse(word).ok())
}

/// Returns true for `Reason: 1 dependency failed.`
fn is_about_a_dependency(block: &str) -> bool {
    let reason = block.lines().find_map(|line| line.trim().strip_prefix("Reason: "));
    reason.is_some_and(|reason| reason.contains("dependency failed") || reason.contains("dependencies failed"))
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

/// Parses the list below `these 2 derivations will be built:` in the messages of `nix build --dry-run`.
fn to_build(stderr: &str) -> BTreeSet<StorePath> {
    let lines = stderr.lines().skip_while(|line| !line.trim_end().ends_with("will be built:")).skip(1);
    let listed = lines.take_while(|line| line.starts_with("  "));
    listed.filter_map(|line| StorePath::parse(line.trim()).ok()).collect()
}

fn parse_build(stdout: &[u8], wanted: usize) -> Result<Built, NixError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Result {
        drv_path: Option<String>,
        outputs: BTreeMap<String, String>,
    }
    let results: Vec<Result> = serde_json::from_slice(stdout).map_err(|error| answer("nix build", &error))?;
    if results.len() != wanted {
        return Err(answer("nix build", &format!("{} results for {wanted} attributes", results.len())));
    }
    let mut built = Built::default();
    for Result { drv_path, outputs } in results {
        let out = outputs.get("out").map(String::as_str).unwrap_or_default();
        built.paths.push(StorePath::parse(out).map_err(|error| answer("nix build", &error))?);
        built.derivations.push(drv_path.and_then(|path| StorePath::parse(&path).ok()));
    }
    Ok(built)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{failed_builds, parse_build, parse_derivations, to_build, warnings};
    use crate::NixError;

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
        let built = parse_build(one, 1).unwrap();
        assert_eq!((built.paths.len(), built.derivations.as_slice()), (1, &[None][..]), "x.drv is not a store path");
        assert!(parse_derivations(one, 2).is_err());
        assert!(parse_derivations(one, 1).is_err(), "x.drv is not a store path");
        let planned = one.iter().copied().map(char::from).collect::<String>();
        let planned = planned.replace("x.drv", "00000000000000000000000000000000-a.drv");
        let derivation = parse_derivations(planned.as_bytes(), 1).unwrap()[0].clone();
        assert_eq!(derivation.as_str(), "/nix/store/00000000000000000000000000000000-a.drv");
        assert_eq!(parse_build(planned.as_bytes(), 1).unwrap().derivations, [Some(derivation)]);
        assert!(matches!(parse_build(one, 2), Err(NixError::Answer { .. })));
    }

    const BAD: &str = "/nix/store/l674mvr81sf3f60pn17zhvgha4a5spk1-bad-1.0.drv";
    const SYSTEM: &str = "/nix/store/3fra0l413gyyhwav4cfnbknlp4j20k2i-sys-a.drv";

    /// Standard error as these versions of nix print it.
    fn printed() -> [String; 4] {
        [
            format!(
                "building '{BAD}'...\nerror: builder for '{BAD}' failed with exit code 3;\n       last 2 log lines:\n       \
                 > one\n       > two\n       For full logs, run 'nix log {BAD}'.\nbuilding '{SYSTEM}'...\nerror: 1 \
                 dependencies of derivation '{SYSTEM}' failed to build"
            ),
            format!(
                "these 2 derivations will be built:\n  {BAD}\n  {SYSTEM}\nerror: builder for '{BAD}' failed with exit code \
                 3;\n       last 2 log lines:\n       > one\n       > two\n       For full logs, run:\n         nix log \
                 {BAD}\nerror: 1 dependencies of derivation '{SYSTEM}' failed to build"
            ),
            format!(
                "error: Cannot build '{BAD}'.\n       Reason: builder failed with exit code 3.\n       Output paths:\n         \
                 /nix/store/0-x\n       Last 2 log lines:\n       > one\n       > two\n       For full logs, run:\n         \
                 nix log {BAD}\nerror: Cannot build '{SYSTEM}'.\n       Reason: 1 dependency failed.\n       Output \
                 paths:\n         /nix/store/1-y\nerror: Build failed due to failed dependency"
            ),
            format!(
                "error: a 'aarch64-linux' with features {{}} is required to build '{BAD}', but I am a 'x86_64-linux'"
            ),
        ]
    }

    #[test]
    fn the_build_that_failed_is_found_with_its_log_and_not_what_depends_on_it() {
        for printed in printed() {
            let failed = failed_builds(&printed);
            assert_eq!(failed.iter().map(|build| build.derivation.as_str()).collect::<Vec<_>>(), [BAD], "{printed}");
            let message = &failed[0].message;
            assert!(message.contains("> two") || message.contains("is required"), "{message}");
            for other in [SYSTEM, "building '", "nix log"] {
                assert!(!message.contains(other), "{message}");
            }
        }
    }

    #[test]
    fn derivations_that_will_be_built_are_those_of_the_list() {
        let listed = |stderr: &str| to_build(stderr).iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>();
        let one = format!(
            "warning: x\nthis derivation will be built:\n  {BAD}\nthese 1 paths will be fetched:\n  {SYSTEM}\n"
        );
        assert_eq!(listed(&one), [BAD]);
        assert_eq!(listed(&format!("these 2 derivations will be built:\n  {SYSTEM}\n  {BAD}\n")), [SYSTEM, BAD]);
        assert_eq!(listed(&format!("this path will be fetched (0.1 MiB download):\n  {SYSTEM}\n")), [""; 0]);
    }

    #[test]
    fn an_error_of_an_evaluation_is_no_failed_build() {
        for printed in ["error: attribute 'x' missing", "error: builder for 'x' failed", "", "warning: a\n"] {
            assert_eq!(failed_builds(printed), [], "{printed}");
        }
    }
}
