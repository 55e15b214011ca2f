//! External programs that a sandbox needs, with the Debian packages that provide them.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use super::error::Error;

/// A program and its Debian package.
type Program = (&'static str, &'static str);

/// Programs that `up` always needs.
pub(super) const TO_RUN: &[Program] = &[
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// Programs that building the Debian root needs.
pub(super) const TO_MAKE_ROOT: &[Program] =
    &[("mmdebstrap", "mmdebstrap"), ("apt-get", "apt"), ("setpriv", "util-linux"), ("unshare", "util-linux")];

/// System directories that are searched even if the caller's PATH does not include them.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the PATH for external programs: the caller's, then the system's.
pub(super) fn search_path() -> String {
    match env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{SYSTEM_PATH}"),
        _ => SYSTEM_PATH.to_owned(),
    }
}

/// Checks that the programs are installed.
///
/// # Errors
/// [`Error::MissingPrograms`] with all that are missing.
pub(super) fn require(programs: &[Program]) -> Result<(), Error> {
    let search_path = search_path();
    let is_missing = |(name, _): &&Program| {
        !env::split_paths(&search_path).any(|directory| Path::new(&directory).join(name).is_file())
    };
    let missing: Vec<&Program> = programs.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&'static str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Err(Error::MissingPrograms { programs: missing.iter().map(|(name, _)| *name).collect(), packages })
}

/// Returns a command with the search path and without input.
pub(super) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = machinist_environment::program(program);
    command.args(arguments).env("PATH", search_path()).stdin(Stdio::null());
    command
}

/// Runs a program to its end and returns its output.
///
/// # Errors
/// The program could not be started, or failed.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let fail = |message: String| Error::Program { program: format!("{program} {}", arguments.join(" ")), message };
    let output = command(program, arguments).output().map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(fail(if said.is_empty() { output.status.to_string() } else { said }));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn missing_programs_are_named_all_at_once_with_their_packages() {
        let error = require(&[("sh", "dash"), ("no-such-a", "pkg"), ("no-such-b", "pkg")]).unwrap_err();
        assert_eq!(error.to_string(), "not installed: no-such-a, no-such-b");
        assert_eq!(error.hint().unwrap(), "apt-get install --no-install-recommends pkg");
    }

    #[test]
    fn a_program_that_fails_is_reported_with_its_output() {
        let error = run("sh", &["-c", "echo no such thing >&2; exit 3"]).unwrap_err();
        assert!(error.to_string().ends_with("failed: no such thing"), "{error}");
        let silent = run("sh", &["-c", "exit 3"]).unwrap_err();
        assert!(silent.to_string().ends_with("failed: exit status: 3"), "{silent}");
    }
}
