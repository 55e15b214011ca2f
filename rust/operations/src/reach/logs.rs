//! Logs: the journals of many machines, merged by time.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_remote::{Remote, Status, Stream};
use machinist_rollout::{Interrupt, script};
use machinist_text::visible;
use serde::Serialize;

use super::{
    each::{Machines, Missing, Results, Unreachable},
    journal::{Entry, FIELDS},
    running,
};
use crate::{context::Context, event::Event, failure::Failure};

/// Time for which a new entry is held, for an earlier one of another machine to arrive.
const HOLD: Duration = Duration::from_millis(300);

/// Time limit of a query for past entries.
const QUERY: Duration = Duration::from_secs(300);

/// Time limit for following journals: a week.
const FOLLOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// Maximum number of entries that wait for the caller: a reader that pauses makes the machines wait.
const WAITING: usize = 10_000;

/// Request for logs.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// Units, or patterns of their names; all if empty.
    pub units: Vec<String>,
    /// Beginning, in a form of systemd.time(7).
    pub since: Option<String>,
    /// Maximum number of past entries of each machine.
    pub lines: u32,
    /// Perl-compatible regular expression that a message must match.
    pub grep: Option<String>,
    /// True to wait for new entries until the interrupt is set.
    pub follow: bool,
    /// Handling of machines that do not answer.
    pub unreachable: Unreachable,
}

/// Result of a query for logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Number of entries that were sent as events.
    pub entries: usize,
    /// Machines whose journal is missing or incomplete.
    pub missing: Vec<Gap>,
    #[serde(skip)]
    unreachable: Unreachable,
}

/// Machine whose journal is missing or incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Name of the node.
    pub node: NodeName,
    /// Reason.
    #[serde(flatten)]
    pub missing: Missing,
}

impl Done {
    /// Returns true if no machine counts as failed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.missing.iter().any(|gap| gap.missing.counts(self.unreachable))
    }
}

type Arrived = (NodeName, Entry);

/// Sends the entries of all machines as events, in the order of their times.
///
/// # Errors
/// The cluster's files are invalid, or a target matches no machine. A machine without answer is part of the result.
pub fn run(context: &Context, request: &Request) -> Result<Done, Failure> {
    let machines = Machines::select(context, &request.targets)?;
    let (sender, receiver) = mpsc::sync_channel(WAITING);
    let (events, hold) = (context.events.clone(), request.follow.then_some(HOLD));
    let merger = thread::spawn(move || {
        merge(&receiver, hold, |(node, entry)| events.send(Event::Journal { node, entry: Box::new(entry) }))
    });
    let (script, limit) = (script(request), if request.follow { FOLLOW } else { QUERY });
    let (interrupt, told) = (context.interrupt.clone(), context.events.clone());
    let entries = (!request.follow).then_some(usize::try_from(request.lines).unwrap_or(usize::MAX));
    let results = machines.each(move |node, remote| {
        let query = Query { node, script: &script, timeout: limit, sender: &sender, limit: entries };
        query.run(remote, &interrupt).inspect_err(|missing| {
            if entries.is_none() {
                told.note(node, &missing.why);
            }
        })
    })?;
    let entries = merger.join().unwrap_or(0);
    Ok(Done { entries, missing: gaps(results), unreachable: request.unreachable })
}

fn gaps(results: Results<()>) -> Vec<Gap> {
    results.into_iter().filter_map(|(node, result)| Some(Gap { node, missing: result.err()? })).collect()
}

/// Query for the journal of one machine.
struct Query<'a> {
    node: &'a NodeName,
    script: &'a str,
    timeout: Duration,
    sender: &'a SyncSender<Arrived>,
    /// Maximum number of entries; none when they are followed.
    limit: Option<usize>,
}

impl Query<'_> {
    /// Reads the journal.
    fn run(&self, remote: &Arc<dyn Remote>, interrupt: &Interrupt) -> Result<(), Missing> {
        let (script, timeout) = (self.script, self.timeout);
        let command = running::Command { label: "journalctl", script, input: Arc::default(), as_user: false, timeout };
        let (mut said, mut taken, mut unread) = (String::new(), 0, 0);
        let status = running::run(remote, command, interrupt, |stream, line| match (stream, Entry::parse(line)) {
            (Stream::Stdout, Some(_)) if self.limit.is_some_and(|limit| taken >= limit) => {}
            (Stream::Stdout, Some(entry)) => {
                taken += 1;
                drop(self.sender.send((self.node.clone(), entry)));
            }
            (Stream::Stdout, None) => unread += 1,
            (Stream::Stderr, _) => line.clone_into(&mut said),
        });
        let status = status.map_err(|error| Missing::failed(self.node, &error))?;
        // `--grep` without a match exits with status 1, without a word.
        let unmatched = status == Status::Exited(1) && said.is_empty();
        if (status == Status::Exited(0) || unmatched || interrupt.is_set()) && unread > 0 {
            return Err(Missing::because(format!(
                "{unread} lines of its journal are not readable; entries above 64 KiB are not"
            )));
        }
        if status == Status::Exited(0) || unmatched || interrupt.is_set() {
            return Ok(());
        }
        Err(Missing::because(visible(&format!("journalctl {status}: {said}"))))
    }
}

/// Prints the journal; the same for all requests, whose words are its variables.
pub const SCRIPT: &str = "\
set -- --no-pager --quiet --all --output=json \"--output-fields=$fields\" \"--lines=$lines\"
while IFS= read -r unit; do
  if [ -n \"$unit\" ]; then set -- \"$@\" \"--unit=$unit\"; fi
done <<end
$units
end
if [ -n \"$since\" ]; then set -- \"$@\" \"--since=$since\"; fi
if [ -n \"$pattern\" ]; then set -- \"$@\" \"--grep=$pattern\"; fi
if [ -n \"$follow\" ]; then set -- \"$@\" --follow; fi
exec journalctl \"$@\"
";

/// Variables of [`SCRIPT`].
pub const VARIABLES: &[&str] = &["fields", "lines", "units", "since", "pattern", "follow"];

fn script(request: &Request) -> String {
    let (lines, units) = (request.lines.to_string(), request.units.join("\n"));
    let variables = [
        ("fields", FIELDS),
        ("lines", &lines),
        ("units", &units),
        ("since", request.since.as_deref().unwrap_or_default()),
        ("pattern", request.grep.as_deref().unwrap_or_default()),
        ("follow", if request.follow { "yes" } else { "" }),
    ];
    script::with(&variables, SCRIPT)
}

/// Passes on entries in the order of their times, and returns their number. With `hold`, an entry is passed on after
/// that time, whatever arrives later.
fn merge(receiver: &Receiver<Arrived>, hold: Option<Duration>, mut send: impl FnMut(Arrived)) -> usize {
    let mut held: Vec<(Instant, Arrived)> = Vec::new();
    let mut count = 0;
    loop {
        let received = match hold {
            Some(hold) => receiver.recv_timeout(hold / 3),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let ended = received == Err(RecvTimeoutError::Disconnected);
        held.extend(received.ok().map(|arrived| (Instant::now(), arrived)));
        let due = |since: &Instant| ended || hold.is_some_and(|hold| since.elapsed() >= hold);
        if ended || held.iter().any(|(since, _)| due(since)) {
            held.sort_by(|(_, a), (_, b)| (a.1.at, &a.0).cmp(&(b.1.at, &b.0)));
            // All entries before the last one that is due: they must not come after it.
            let end = held.iter().rposition(|(since, _)| due(since)).map_or(0, |last| last + 1);
            count += end;
            held.drain(..end).for_each(|(_, arrived)| send(arrived));
        }
        if ended {
            return count;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use machinist_model::NodeName;

    use super::{Request, Unreachable, merge, script};
    use crate::reach::journal::Entry;

    fn entry(at: i64) -> Entry {
        Entry { at, unit: None, program: "p".to_owned(), process: None, priority: None, message: String::new() }
    }

    #[test]
    fn entries_of_several_machines_come_in_the_order_of_their_times() {
        let (sender, receiver) = mpsc::channel();
        for (node, at) in [("b", 1), ("b", 4), ("a", 2), ("a", 4), ("c", 3)] {
            sender.send((NodeName::parse(node).unwrap(), entry(at))).unwrap();
        }
        drop(sender);
        let mut seen = Vec::new();
        let count = merge(&receiver, None, |(node, entry)| seen.push(format!("{node}{}", entry.at)));
        assert_eq!((count, seen.join(" ")), (5, "b1 a2 c3 a4 b4".to_owned()));
    }

    #[test]
    fn an_entry_is_passed_on_while_others_are_awaited() {
        let (sender, receiver) = mpsc::channel();
        let (seen, heard) = mpsc::channel();
        let merger = std::thread::spawn(move || {
            merge(&receiver, Some(std::time::Duration::from_millis(30)), |(_, entry)| seen.send(entry.at).unwrap())
        });
        sender.send((NodeName::parse("a").unwrap(), entry(7))).unwrap();
        assert_eq!(heard.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), 7);
        drop(sender);
        assert_eq!(merger.join().unwrap(), 1);
    }

    #[test]
    fn what_the_operator_writes_is_one_word_of_the_command() {
        let request = Request {
            targets: Vec::new(),
            units: vec!["etcd; rm -rf /".to_owned()],
            since: Some("-1h".to_owned()),
            lines: 5,
            grep: None,
            follow: true,
            unreachable: Unreachable::Fail,
        };
        let text = script(&request);
        let run = text.replace("exec journalctl", "printf '<%s>'");
        let output = std::process::Command::new("sh").args(["-c", &run]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(words.ends_with("<--lines=5><--unit=etcd; rm -rf /><--since=-1h><--follow>"), "{words}");
        assert!(super::VARIABLES.iter().all(|name| text.contains(&format!("{name}="))), "{text}");
    }
}
