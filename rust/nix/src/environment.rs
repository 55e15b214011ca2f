//! Environment of git and nix processes. In a hook, an alias, `git rebase --exec` or a linked work tree, git sets
//! variables that select its repository; our calls must select it only by the directory.

use std::{ffi::OsStr, process::Command};

/// Git variables about access to remote repositories and about configuration, not about the selected repository. The
/// configuration by environment is kept, as git itself keeps it for submodules: it contains a build server's
/// `safe.directory`.
const KEPT: [&str; 19] = [
    "GIT_ALLOW_PROTOCOL",
    "GIT_ASKPASS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_KEY_",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_VALUE_",
    "GIT_EXEC_PATH",
    "GIT_HTTP_",
    "GIT_PROTOCOL",
    "GIT_PROXY_",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_",
    "GIT_TERMINAL_PROMPT",
    "GIT_USER_AGENT",
];

/// Returns a command for git, nix, or a program that runs them, without git variables that select another repository, and
/// without the tokens of clouds.
#[must_use]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = machinist_environment::program(name);
    for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_foreign(variable)) {
        command.env_remove(variable);
    }
    command
}

fn is_foreign(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else { return false };
    let is_kept = |kept: &str| if kept.ends_with('_') { name.starts_with(kept) } else { name == kept };
    name.starts_with("GIT_") && !KEPT.into_iter().any(is_kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        ffi::OsStr,
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use super::is_foreign;
    use crate::FlakeRef;

    #[test]
    fn what_git_calls_local_to_a_repository_is_left_out() {
        let listed = Command::new("git").args(["rev-parse", "--local-env-vars"]).output().unwrap().stdout;
        let local = String::from_utf8(listed).unwrap();
        assert!(local.contains("GIT_INDEX_FILE"), "{local}");
        for name in local.lines().filter(|name| !["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"].contains(name)) {
            assert!(is_foreign(OsStr::new(name)), "{name}");
        }
        for name in ["GIT_SSH_COMMAND", "GIT_CONFIG_VALUE_0", "GIT_SSL_CAINFO", "NIX_PATH", "HOME"] {
            assert!(!is_foreign(OsStr::new(name)), "{name}");
        }
    }

    /// Checks that the crate starts every program with this function: any other command would inherit git's variables.
    #[test]
    fn every_git_and_nix_starts_with_the_cleaned_environment() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = Vec::new();
        for name in ["nix", "cli", "rollout"] {
            sources(&root.join(name).join("src"), &mut found);
        }
        assert!(found.len() > 50);
        for (path, text) in found {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = path.to_string_lossy().ends_with("tests.rs") || path.ends_with("environment.rs");
            assert!(is_test || !code.contains("Command::new("), "{}: use environment::program", path.display());
        }
    }

    fn sources(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                sources(&entry, found);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push((entry.clone(), fs::read_to_string(&entry).unwrap()));
            }
        }
    }

    const IN_A_HOOK: &str = "MACHINIST_TEST_IN_A_HOOK";

    /// A hook's environment is only visible to a process that has it from its start.
    #[test]
    fn in_a_hook_of_another_repository_nothing_is_written_there() {
        if let Some(cluster) = std::env::var_os(IN_A_HOOK) {
            let flake = FlakeRef::find(Path::new(&cluster)).unwrap();
            flake.make_visible(&["machines.nix"]).unwrap();
            let copy = tempfile::tempdir().unwrap();
            flake.snapshot(copy.path(), &["machines.nix"]).unwrap();
            return;
        }
        let (other, cluster) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let git = |directory: &Path, arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for directory in [&other, &cluster] {
            git(directory.path(), &["init", "-q"]);
        }
        fs::write(cluster.path().join("flake.nix"), "{ }").unwrap();
        fs::write(cluster.path().join("machines.nix"), "{ }").unwrap();
        let of_the_other = |name: &str| other.path().join(".git").join(name);
        let inner = "environment::tests::in_a_hook_of_another_repository_nothing_is_written_there";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", inner])
            .env(IN_A_HOOK, cluster.path())
            .env("GIT_DIR", other.path().join(".git"))
            .env("GIT_INDEX_FILE", of_the_other("index"))
            .env("GIT_WORK_TREE", other.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(git(cluster.path(), &["ls-files"]), "machines.nix\n");
        assert_eq!(git(other.path(), &["ls-files"]), "");
        assert!(git(other.path(), &["config", "--get", "core.bare"]).contains("false"));
    }
}
