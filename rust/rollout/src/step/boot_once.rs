//! Installation of a system for the next boot of a host only, and the end of a trial that did not come up.

use std::time::Duration;

use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError, Request, Status};

use super::{StepError, run};
use crate::{
    HostFacts,
    boot_once::Loader,
    lock::{Token, run_under},
    script,
};

/// Queries the boot loader of a host.
///
/// # Errors
/// The connection fails, or the response is cut off.
pub fn loader(remote: &dyn Remote) -> Result<Loader, StepError> {
    let output = run(remote, "ask about the boot loader", script::LOADER, Duration::from_secs(30))?.stdout_text();
    Loader::parse(&output)
        .ok_or_else(|| StepError::Unknown { why: "its answer about the boot loader is cut off".to_owned() })
}

/// Returns the last journal lines of the units that ended the trial before this boot.
pub fn last_words(remote: &dyn Remote) -> String {
    // A failure to fetch the log must not hide the original error.
    run(remote, "fetch the journal", LAST_WORDS, Duration::from_secs(15))
        .map(|output| output.stdout_text().trim_end().to_owned())
        .unwrap_or_default()
}

const LAST_WORDS: &str =
    "if [ -r /var/lib/machinist/activation.words ]; then cat /var/lib/machinist/activation.words; fi\n";

/// A system to boot once.
#[derive(Clone, Debug)]
pub struct BootOnce<'a> {
    /// The system.
    pub system: &'a StorePath,
    /// Token of the lock under which it happens.
    pub token: &'a Token,
    /// Facts of the host before its reboot.
    pub facts: &'a HostFacts,
    /// Time limit of the installation.
    pub bound: Duration,
}

impl BootOnce<'_> {
    /// Installs the system for the next boot only. Returns the boot loader's name.
    ///
    /// # Errors
    /// The lock is gone, the boot loader refuses, or the connection fails: nothing is booted then but the old system,
    /// unless the connection failed.
    pub fn install(&self, remote: &dyn Remote) -> Result<String, StepError> {
        let text = |path: &Option<StorePath>| path.as_ref().map(ToString::to_string).unwrap_or_default();
        let token = self.token.variables();
        let (old, before) = (text(&self.facts.running), text(&self.facts.profile));
        let bound = self.bound.as_secs().max(1).to_string();
        let own = [
            ("new", self.system.as_str()),
            ("old", old.as_str()),
            ("before", before.as_str()),
            ("activation_bound", bound.as_str()),
        ];
        let token = token.iter().map(|(name, value)| (*name, value.as_str()));
        let script = script::with(&token.chain(own).collect::<Vec<_>>(), script::BOOT_ONCE);
        // The menu is written at most twice, and the new system's own checks run before.
        let limit = self.bound * 3 + Duration::from_secs(60);
        let output = remote.run(Request::new("install it for the next boot", script).timeout(limit))?;
        if output.status == Status::Exited(0) {
            let text = output.stdout_text();
            let name = text.lines().find_map(|line| line.strip_prefix("loader=")).unwrap_or("the boot loader");
            return Ok(name.to_owned());
        }
        let said = output.stderr_text();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why").trim();
        Err(StepError::NotInstalled { why: last.to_owned() })
    }

    /// Ends the trial: the next boot is the default again, and the host's record says why. Returns the last lines of
    /// the boot of the new system, if the host's journal has any.
    ///
    /// # Errors
    /// The connection fails, or the lock is gone.
    pub fn give_up(&self, remote: &dyn Remote, why: &str) -> Result<String, StepError> {
        let variables = [("new", self.system.as_str()), ("words", why), ("boot", self.facts.boot.as_str())];
        let script = script::with(&variables, script::BOOT_GIVEN_UP);
        let output = run_under(remote, self.token, "give the trial up", &script, Duration::from_secs(60))?;
        Ok(output.stdout_text().trim_end().to_owned())
    }
}

/// Converts a connection error: the installation may have been completed.
pub fn uncertain(error: StepError) -> StepError {
    let is_lost = |error: &RemoteError| error.is_connection_failure();
    match error {
        StepError::Remote(error) if is_lost(&error) => {
            StepError::Unknown { why: format!("the new system may be installed for the next boot: {error}") }
        }
        error => error,
    }
}
