//! Queries and commands for systemd units.

use std::{io, process::Stdio};

use thiserror::Error;
use tokio::process::Command;

/// Error of a request to systemd.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// The program cannot be run.
    #[error("cannot run systemctl")]
    Run(#[source] io::Error),
    /// systemctl failed.
    #[error("`systemctl {verb} {unit}` failed: {why}")]
    Refused {
        /// The verb of systemctl.
        verb: &'static str,
        /// Name of the unit.
        unit: String,
        /// The last line of systemctl's output.
        why: String,
    },
}

/// State of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// True if it runs, or systemd is about to start, restart or stop it.
    pub runs: bool,
    /// Invocation ID; empty if it does not run.
    pub invocation: String,
    /// Its `Result`, in systemd's words.
    pub result: String,
    /// Its state directories, relative to /var/lib.
    pub data: Vec<String>,
}

impl UnitState {
    /// Parses the output of `systemctl show`.
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        // A unit whose start has only been queued is still inactive.
        let has_job = !matches!(field("Job").as_str(), "" | "0");
        let runs = has_job || !matches!(field("ActiveState").as_str(), "inactive" | "failed" | "");
        let data = field("StateDirectory").split_ascii_whitespace().map(str::to_owned).collect();
        Self { runs, invocation: field("InvocationID"), result: field("Result"), data }
    }
}

/// Returns the state of a unit.
pub async fn show(unit: &str) -> Result<UnitState, SystemdError> {
    let properties = "--property=ActiveState,InvocationID,Job,Result,StateDirectory";
    let text = systemctl("show", &[properties, "--", unit], unit).await?;
    Ok(UnitState::parse(&text))
}

/// Starts a unit without waiting for it.
pub async fn start(unit: &str) -> Result<(), SystemdError> {
    systemctl("start", &["--no-block", "--", unit], unit).await.map(drop)
}

/// Stops a unit, and waits until it has stopped.
pub async fn stop(unit: &str) -> Result<(), SystemdError> {
    systemctl("stop", &["--", unit], unit).await?;
    // A unit that did not become healthy may have failed as well: the next start begins with a clean state.
    let _ = systemctl("reset-failed", &["--", unit], unit).await;
    Ok(())
}

/// Returns the last log lines of a unit.
pub async fn last_lines(unit: &str) -> String {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", "--lines=10", "--unit", unit]);
    match command.stdin(Stdio::null()).output().await {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        Err(error) => format!("(cannot run journalctl: {error})"),
    }
}

async fn systemctl(verb: &'static str, arguments: &[&str], unit: &str) -> Result<String, SystemdError> {
    let mut command = Command::new("systemctl");
    let output = command.arg(verb).args(arguments).stdin(Stdio::null()).output().await.map_err(SystemdError::Run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(SystemdError::Refused { verb, unit: unit.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::UnitState;

    #[test]
    fn a_unit_whose_start_is_queued_runs() {
        assert!(UnitState::parse("ActiveState=inactive\nJob=7201\nResult=success\n").runs);
        assert!(!UnitState::parse("ActiveState=inactive\nJob=0\nResult=success\n").runs);
        assert!(!UnitState::parse("ActiveState=failed\nResult=exit-code\n").runs);
    }

    #[test]
    fn a_unit_that_systemd_will_start_again_runs() {
        let of = |state: &str| UnitState::parse(&format!("Result=exit-code\nActiveState={state}\nInvocationID=0af3\n"));
        let expected =
            [("active", true), ("activating", true), ("deactivating", true), ("inactive", false), ("failed", false)];
        for (state, runs) in expected {
            assert_eq!(of(state).runs, runs, "{state}");
        }
        assert_eq!(of("active").invocation, "0af3");
        assert_eq!(UnitState::parse("StateDirectory=postgresql postgresql/17\n").data, ["postgresql", "postgresql/17"]);
        assert_eq!(UnitState::parse(""), UnitState::default());
    }
}
