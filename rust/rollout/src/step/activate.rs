//! Activation of a system on a host, in a transient unit that outlives the connection.

use std::{thread, time::Duration, time::Instant};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::{Remote, RemoteError, Request};

use super::{Connector, StepError, reboot, run};
use crate::{
    HostFacts, Interrupt,
    lock::{Token, run_under},
    script,
};

/// Time limits of the steps on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For `switch-to-configuration test`.
    pub activation: Duration,
    /// For the confirmation after it.
    pub confirmation: Duration,
    /// From the reboot request to the end of the next boot.
    pub reboot: Duration,
    /// For etcd to become healthy after an activation or a reboot. An election takes a second or two, reading a large
    /// database some ten.
    pub etcd: Duration,
    /// Time to wait for a host that does not respond, beyond its own limits: by then it has reverted by itself.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            activation: Duration::from_secs(300),
            confirmation: Duration::from_secs(120),
            reboot: reboot::BOUND,
            etcd: Duration::from_secs(60),
            grace: Duration::from_secs(15),
        }
    }
}

/// One activation on one host.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The node on which it runs.
    pub node: NodeName,
    /// The system to activate.
    pub system: StorePath,
    /// Identifier of this activation, of letters, digits and `-`: the run's, or one derived from it.
    pub id: String,
    /// Token of the lock under which it runs.
    pub token: Token,
    /// Time limits of its phases.
    pub bounds: Bounds,
    /// True if the new system's own gates are run.
    pub gates: bool,
    /// How the host came to the new system, and how it leaves it.
    pub kind: Kind,
    /// The request to stop the run.
    pub interrupt: Interrupt,
}

/// Ways to a new system, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The running host is switched to it, and back.
    #[default]
    Switch,
    /// The host has booted it once and runs it; the way back is a reboot.
    Trial {
        /// Units that were unhealthy before that boot, one a line.
        unwell: String,
    },
}

/// Pause before a lost connection is retried; doubled each time. A host takes reconnects without a pause for an attack
/// (`PerSourcePenalties` in OpenSSH's sshd_config) and blocks this computer.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// State of an activation as reported by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The new system runs and waits for its confirmation.
    Waiting,
    /// The new system runs, and is the one that boots.
    Confirmed,
    /// The old system runs again. The reason.
    Reverted(String),
    /// The host did nothing, because another run holds its lock. The message.
    Refused(String),
    /// The activation failed, and the host had no older system to revert to. The reason.
    Failed(String),
    /// The activation failed, and so did the revert. The reasons.
    Broken(String),
    /// The activation's own process was killed. The state before.
    Died(String),
    /// No state: the host was reset since.
    Gone,
    /// A transitional state.
    Passing(String),
}

impl State {
    /// Parses the first line of a state file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let line = text.lines().next().unwrap_or("").trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.to_owned();
        match word {
            "waiting" => Self::Waiting,
            "confirmed" => Self::Confirmed,
            "reverted" => Self::Reverted(rest),
            "refused" => Self::Refused(rest),
            "failed" => Self::Failed(rest),
            "broken" => Self::Broken(rest),
            "died" => Self::Died(rest),
            "gone" => Self::Gone,
            _ => Self::Passing(line.to_owned()),
        }
    }
}

impl Activation {
    /// Returns the directory of this activation on the host. It is in memory: a reset clears it.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("/run/machinist/{}", self.id)
    }

    /// Prefixes a script with the lock's token and other variables.
    fn under_token(&self, variables: &[(&str, &str)], script: &str) -> String {
        let token = self.token.variables();
        let token = token.iter().map(|(name, value)| (*name, value.as_str()));
        script::with(&token.chain(variables.iter().copied()).collect::<Vec<_>>(), script)
    }

    fn unit(&self) -> String {
        format!("machinist-activate-{}", self.id)
    }

    /// Returns true if the activation is already in progress on the host: an interrupted run has started it.
    #[must_use]
    pub fn found(&self, facts: &HostFacts) -> bool {
        let same = facts.last.as_ref().is_some_and(|last| last.new.as_ref() == Some(&self.system));
        same && facts.activations.contains(&format!("{}.service", self.unit()))
    }

    /// Starts the activation.
    ///
    /// # Errors
    /// The connection fails, or the transient unit cannot be started.
    pub fn start(&self, remote: &dyn Remote, facts: &HostFacts) -> Result<(), StepError> {
        let text = |path: &Option<StorePath>| path.as_ref().map(ToString::to_string).unwrap_or_default();
        let directory = self.directory();
        let seconds = |bound: Duration| bound.as_secs().to_string();
        let (trial, unwell) = match &self.kind {
            Kind::Switch => ("no", ""),
            Kind::Trial { unwell } => ("yes", unwell.as_str()),
        };
        let activate = self.under_token(
            &[
                ("new", self.system.as_str()),
                ("old", &text(&facts.running)),
                ("before", &text(&facts.profile)),
                ("directory", &directory),
                ("activation_bound", &seconds(self.bounds.activation)),
                ("confirm_bound", &seconds(self.bounds.confirmation)),
                ("gates", if self.gates { "yes" } else { "no" }),
                ("trial", trial),
                ("unwell_before", unwell),
            ],
            script::ACTIVATE,
        );
        let (unit, length) = (self.unit(), activate.len().to_string());
        let variables = [("directory", directory.as_str()), ("unit", &unit), ("length", &length)];
        let start = script::with(&variables, script::START);
        let request = Request::new("start the activation", start).bytes(activate);
        remote.run_checked(request.timeout(Duration::from_secs(30)))?;
        Ok(())
    }

    /// Waits until the new system is active and its own gates are open, or one of these failed. `shown` is called with
    /// the name of each gate as it runs.
    ///
    /// # Errors
    /// No connection can be established within the time limit.
    pub fn wait_for_gates(
        &self,
        remote: &dyn Remote,
        connector: &Connector,
        mut shown: impl FnMut(&str),
    ) -> Result<State, StepError> {
        let mut passing = "starting|activating|reverting".to_owned();
        loop {
            let state = self.wait(remote, connector, &passing)?;
            let State::Passing(text) = &state else { return Ok(state) };
            let Some(gate) = text.strip_prefix("gate ") else { return Ok(state) };
            shown(gate);
            passing = format!("{text}|starting|reverting");
        }
    }

    /// Waits until the activation is no longer in one of the `passing` states (first words or complete states, joined
    /// by `|`). If the connection is lost, because the new system restarts sshd or the network, it is re-established
    /// until the time limit.
    ///
    /// # Errors
    /// No connection can be established within the time limit.
    pub fn wait(&self, remote: &dyn Remote, connector: &Connector, passing: &str) -> Result<State, StepError> {
        self.wait_after("", remote, connector, passing)
    }

    /// Does the same after the script `first` has run in the same request; both run again on each new connection.
    pub(super) fn wait_after(
        &self,
        first: &str,
        remote: &dyn Remote,
        connector: &Connector,
        passing: &str,
    ) -> Result<State, StepError> {
        // The activation, its gates and the revert have the same limit each.
        let bound = self.bounds.activation * 3 + self.bounds.confirmation + self.bounds.grace;
        let mut deadline = Instant::now() + bound;
        let (mut pause, mut stopped) = (FIRST_PAUSE, false);
        let mut result = self.ask(first, remote, passing, bound);
        while let Err(error) = &result {
            if self.interrupt.is_set() && !stopped {
                stopped = true;
                deadline = deadline.min(Instant::now() + self.bounds.confirmation + self.bounds.grace);
            }
            if Instant::now() >= deadline {
                return Err(StepError::Unknown { why: format!("the host does not answer: {error}") });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            let left = deadline.saturating_duration_since(Instant::now());
            result = connector.connect(&self.node).and_then(|fresh| self.ask(first, &*fresh, passing, left));
        }
        Ok(result?)
    }

    fn ask(&self, first: &str, remote: &dyn Remote, passing: &str, bound: Duration) -> Result<State, RemoteError> {
        let (directory, unit) = (self.directory(), self.unit());
        let variables = [
            ("directory", directory.as_str()),
            ("unit", unit.as_str()),
            ("passing", passing),
            ("new", self.system.as_str()),
        ];
        let script = self.under_token(&variables, &[first, script::AWAIT].concat());
        let output = remote.run_checked(Request::new("wait for the activation", script).timeout(bound))?;
        Ok(State::parse(&output.stdout_text()))
    }

    /// Requests a revert as soon as the new system runs, if this run still holds the lock.
    ///
    /// # Errors
    /// The host cannot be reached, and reverts by itself without a confirmation; or the lock is gone.
    pub fn ask_to_abort(&self, remote: &dyn Remote, why: &str) -> Result<(), StepError> {
        let script = script::with(&[("directory", self.directory().as_str()), ("words", why)], script::ABORT);
        run_under(remote, &self.token, "tell it to go back", &script, Duration::from_secs(30)).map(drop)
    }

    /// Requests an immediate revert, and waits until it has finished.
    ///
    /// # Errors
    /// The host cannot be reached; it reverts by itself without a confirmation.
    pub fn abort(&self, remote: &dyn Remote, connector: &Connector, why: &str) -> Result<State, StepError> {
        self.ask_to_abort(remote, why)?;
        self.wait(remote, connector, "starting|activating|gate|waiting|reverting")
    }

    /// Returns the last journal lines of one unit.
    pub fn log_of(&self, remote: &dyn Remote, unit: &str) -> String {
        let script = script::with(&[("unit", unit)], LOG_OF);
        run(remote, "fetch the journal", &script, Duration::from_secs(15))
            .map(|output| output.stdout_text().trim_end().to_owned())
            .unwrap_or_default()
    }

    /// Returns the last journal lines of the newly failed units, or of the activation itself.
    pub fn log(&self, remote: &dyn Remote) -> String {
        let (directory, unit) = (self.directory(), self.unit());
        let script = script::with(&[("directory", &directory), ("unit", &unit)], LOG);
        // A failure to fetch the log must not hide the original error.
        run(remote, "fetch the journal", &script, Duration::from_secs(15))
            .map(|output| output.stdout_text().trim_end().to_owned())
            .unwrap_or_default()
    }
}

const LOG_OF: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
journalctl --unit=\"$unit\" --lines=8 --output=cat --no-pager 2>/dev/null | sed \"s|^|  $unit: |\"
";

const LOG: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
if [ -s \"$directory/words\" ]; then
  cat \"$directory/words\"
else
  journalctl --unit=\"$unit\" --lines=8 --output=cat --no-pager 2>/dev/null | sed 's|^|  activation: |'
fi
";

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn a_state_is_a_word_and_a_reason() {
        assert_eq!(
            State::parse("reverted units failed: x.service \n"),
            State::Reverted("units failed: x.service".to_owned())
        );
        assert_eq!(State::parse("waiting\n"), State::Waiting);
        assert_eq!(State::parse(""), State::Passing(String::new()));
    }
}
