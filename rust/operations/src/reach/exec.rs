//! Exec: a command on many machines at once.

use std::{sync::Arc, time::Duration};

use machinist_model::NodeName;
use machinist_remote::{Remote, Status, Stream};
use machinist_rollout::Interrupt;
use serde::Serialize;

use super::{
    each::{Machines, Missing, Unreachable},
    running,
};
use crate::{
    context::Context,
    event::{Event, Events},
    failure::Failure,
};

/// Exit code of a machine without a result, as `ssh` has it.
const NO_RESULT: u8 = 255;

/// Request to run a command.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// POSIX shell text. It is sent on standard input: no process table shows it.
    pub script: String,
    /// Standard input of the command, the same on each machine.
    pub input: Arc<[u8]>,
    /// True to run as the user that logs in, and not as root.
    pub as_user: bool,
    /// Time limit on each machine.
    pub timeout: Duration,
    /// Handling of machines that do not answer.
    pub unreachable: Unreachable,
}

/// Result of a command on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Name of the node.
    pub node: NodeName,
    /// End of the command.
    #[serde(flatten)]
    pub end: End,
}

/// End of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum End {
    /// It exited.
    Exited {
        /// Exit status.
        status: u8,
    },
    /// A signal killed it.
    Killed {
        /// Name of the signal, without `SIG`.
        signal: String,
    },
    /// There is no result.
    Missing(Missing),
}

/// Results of all machines, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Result of each machine.
    pub nodes: Vec<Ended>,
    #[serde(skip)]
    unreachable: Unreachable,
}

impl End {
    /// Returns the exit code: that of the command, 128 and more after a signal, 255 without a result.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Exited { status } => *status,
            Self::Killed { signal } => 128 + number(signal),
            Self::Missing(_) => NO_RESULT,
        }
    }
}

impl Done {
    /// Returns the worst exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        let counts = |end: &End| !matches!(end, End::Missing(missing) if !missing.counts(self.unreachable));
        self.nodes.iter().map(|ended| &ended.end).filter(|end| counts(end)).map(End::code).max().unwrap_or(0)
    }
}

/// Runs the command. Its output is sent as events, line by line; an interrupt ends it on every machine.
///
/// # Errors
/// The cluster's files are invalid, or a target matches no machine. A failure on a machine is part of the result.
pub fn run(context: &Context, request: &Request) -> Result<Done, Failure> {
    let machines = Machines::select(context, &request.targets)?;
    let (events, interrupt, wanted) = (context.events.clone(), context.interrupt.clone(), request.clone());
    let results = machines.each(move |node, remote| on_node(node, remote, &wanted, &events, &interrupt))?;
    let ended = |(node, result): (NodeName, Result<End, Missing>)| {
        let end = result.unwrap_or_else(End::Missing);
        Ended { node, end }
    };
    Ok(Done { nodes: results.into_iter().map(ended).collect(), unreachable: request.unreachable })
}

fn on_node(
    node: &NodeName,
    remote: &Arc<dyn Remote>,
    request: &Request,
    events: &Events,
    interrupt: &Interrupt,
) -> Result<End, Missing> {
    let command = running::Command {
        label: "command",
        script: &request.script,
        input: Arc::clone(&request.input),
        as_user: request.as_user,
        timeout: request.timeout,
    };
    let line = |stream: Stream, text: &str| events.send(Event::output(node, stream, text));
    let status = running::run(remote, command, interrupt, line).map_err(|error| Missing::failed(node, &error))?;
    Ok(match status {
        Status::Exited(status) => End::Exited { status: u8::try_from(status).unwrap_or(NO_RESULT) },
        Status::Signaled(signal) => End::Killed { signal },
    })
}

/// Returns the number of a signal; 0 for one that is not known here.
fn number(signal: &str) -> u8 {
    const NUMBERS: [(&str, u8); 9] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
    ];
    NUMBERS.iter().find(|(name, _)| *name == signal).map_or(0, |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Done, End, Ended, Missing, Unreachable};
    use machinist_model::NodeName;

    fn done(ends: Vec<End>, unreachable: Unreachable) -> Done {
        let ended = |(index, end)| Ended { node: NodeName::parse(&format!("n{index}")).unwrap(), end };
        Done { nodes: ends.into_iter().enumerate().map(ended).collect(), unreachable }
    }

    fn missing(unreachable: bool) -> End {
        End::Missing(Missing { unreachable, why: "refused".to_owned(), hint: None })
    }

    #[test]
    fn the_worst_exit_code_of_all_machines_counts() {
        let exited = |status| End::Exited { status };
        assert_eq!(done(vec![exited(0), exited(3), exited(1)], Unreachable::Fail).code(), 3);
        assert_eq!(done(vec![exited(0), End::Killed { signal: "TERM".to_owned() }], Unreachable::Fail).code(), 143);
        assert_eq!(done(Vec::new(), Unreachable::Fail).code(), 0);
    }

    #[test]
    fn a_silent_machine_fails_the_command_unless_it_is_to_be_ignored() {
        let ends = || vec![End::Exited { status: 0 }, missing(true)];
        assert_eq!(done(ends(), Unreachable::Fail).code(), 255);
        assert_eq!(done(ends(), Unreachable::Ignore).code(), 0);
        assert_eq!(done(vec![missing(false)], Unreachable::Ignore).code(), 255, "a lost connection is never ignored");
    }
}
