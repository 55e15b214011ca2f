//! What systemd says of a unit, and does with it.

use std::{io, process::Stdio};

use thiserror::Error;
use tokio::process::Command;

/// Why systemd could not be asked.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// The program cannot be run.
    #[error("cannot run systemctl")]
    Run(#[source] io::Error),
    /// It says no.
    #[error("`systemctl {verb} {unit}` failed: {why}")]
    Refused {
        /// What it was to do.
        verb: &'static str,
        /// With what.
        unit: String,
        /// What it said.
        why: String,
    },
}

/// A unit as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Whether it runs, or systemd is about to start it again or to stop it.
    pub runs: bool,
    /// The identifier of this start of it; empty if it does not run.
    pub invocation: String,
    /// How it ended, in systemd's words.
    pub result: String,
    /// The directories of its data, relative to /var/lib.
    pub data: Vec<String>,
}

impl UnitState {
    /// Reads what `systemctl show` prints.
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        let runs = !matches!(field("ActiveState").as_str(), "inactive" | "failed" | "");
        let data = field("StateDirectory").split_ascii_whitespace().map(str::to_owned).collect();
        Self { runs, invocation: field("InvocationID"), result: field("Result"), data }
    }
}

/// Returns how a unit is.
pub async fn show(unit: &str) -> Result<UnitState, SystemdError> {
    let properties = "--property=ActiveState,InvocationID,Result,StateDirectory";
    let text = systemctl("show", &[properties, "--", unit], unit).await?;
    Ok(UnitState::parse(&text))
}

/// Begins to start a unit, which may take its time.
pub async fn start(unit: &str) -> Result<(), SystemdError> {
    systemctl("start", &["--no-block", "--", unit], unit).await.map(drop)
}

/// Stops a unit, and waits for its end.
pub async fn stop(unit: &str) -> Result<(), SystemdError> {
    systemctl("stop", &["--", unit], unit).await?;
    // What did not get healthy may have failed too: the next start begins anew.
    let _ = systemctl("reset-failed", &["--", unit], unit).await;
    Ok(())
}

/// Returns the last lines that a unit wrote.
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
