//! Environment of the programs that machinist starts: everything that it has itself, but no token of a cloud.
//!
//! Another process of the same user reads the environment of a program in /proc; machinist's own is protected. nix passes
//! its environment on to its helpers, and ssh to what a configuration names.

use std::{ffi::OsStr, process::Command};

/// Variables that hold the token of a cloud. With the suffix `_FILE`, its file.
pub const TOKENS: [&str; 3] = ["DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN", "HCLOUD_TOKEN"];

/// Returns a command for a program, without the tokens of clouds in its environment.
#[must_use]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for token in TOKENS {
        command.env_remove(token);
        command.env_remove(format!("{token}_FILE"));
    }
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use super::{TOKENS, program};

    const INNER: &str = "MACHINIST_TEST_PROGRAM_ENVIRONMENT";

    /// The variables have to be there from the start of the process that starts the program.
    #[test]
    fn a_program_inherits_everything_but_the_tokens() {
        if std::env::var_os(INNER).is_some() {
            let output = program("env").output().unwrap();
            print!("{}", String::from_utf8(output.stdout).unwrap());
            return;
        }
        let mut outer = Command::new(std::env::current_exe().unwrap());
        outer.args(["--exact", "tests::a_program_inherits_everything_but_the_tokens", "--nocapture"]);
        for token in TOKENS {
            outer.env(token, "secret-token").env(format!("{token}_FILE"), "/secret-token");
        }
        let output = outer.env(INNER, "is-there").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{INNER}=is-there")), "{text}");
        assert!(!text.contains("secret-token"), "{text}");
    }

    /// Crates whose programs inherit no environment of an operator: they run on nodes, or in tests.
    const ELSEWHERE: [&str; 5] = ["agent", "environment", "ledger", "mesh", "testkit"];

    /// Programs of the crates that are not listed start by [`program`]. A command for a host is text, not a process.
    #[test]
    fn every_program_starts_without_the_tokens() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = Vec::new();
        for entry in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().join("src").is_dir() && !ELSEWHERE.contains(&name.as_str()) {
                sources(&entry.path().join("src"), &mut found);
            }
        }
        assert!(found.len() > 200);
        for (path, text) in found {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = path.to_string_lossy().ends_with("tests.rs");
            assert!(
                is_test || !code.contains("Command::new("),
                "{}: use machinist_environment::program",
                path.display()
            );
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
}
