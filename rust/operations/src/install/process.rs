//! A program whose output tells its phases: each ends within its deadline, and with the program everything that it
//! started.

use std::{
    collections::{HashSet, VecDeque},
    fs,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use machinist_rollout::{
    Interrupt,
    install::phase::{Follower, Phase},
};
use machinist_text::{bounded, visible};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Maximum length of a line of a program's output, in bytes.
const LONGEST_LINE: u64 = 16 << 10;
/// Maximum length of a line that is kept for an error, in bytes.
const LONGEST_KEPT: usize = 500;
/// Number of lines that are kept for an error.
const KEPT: usize = 12;
/// Time to wait for remaining output after a program exits: a leftover child process may keep the pipe open.
const REST: Duration = Duration::from_secs(2);
/// Time that a program has for cleaning up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Poll interval for the end of a program, or for an interruption.
const TICK: Duration = Duration::from_millis(20);

/// Run of a program.
pub struct Run<'a> {
    /// Recognises the phases.
    pub follower: Follower,
    /// Returns the deadline of a phase.
    pub deadline: &'a dyn Fn(Phase) -> Duration,
    /// Ends the program.
    pub interrupt: &'a Interrupt,
    /// Receives each line.
    pub on_line: &'a dyn Fn(&str),
    /// Receives each phase that begins.
    pub on_phase: &'a dyn Fn(Phase),
}

/// End of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited.
    Exited(ExitStatus),
    /// A phase was over its deadline.
    Deadline,
    /// The operation was interrupted.
    Interrupted,
}

/// Result of a run.
#[derive(Debug)]
pub struct Done {
    /// The end.
    pub ending: Ending,
    /// The phase in which it ended.
    pub phase: Phase,
    /// The last lines of the output, cleaned.
    pub last: Vec<String>,
}

impl Run<'_> {
    /// Runs the program to its end, or ends it. It has no terminal: it must not ask.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn follow(mut self, command: &mut Command) -> io::Result<Done> {
        // A group of its own, so that all of it can be ended.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || read_lines(stream, &sender));
        }
        drop(sender);
        let mut last = VecDeque::new();
        let mut since = Instant::now();
        (self.on_phase)(self.follower.phase());
        let ending = loop {
            if let Some(status) = child.try_wait()? {
                break Ending::Exited(status);
            }
            if self.interrupt.is_set() {
                break Ending::Interrupted;
            }
            if since.elapsed() >= (self.deadline)(self.follower.phase()) {
                break Ending::Deadline;
            }
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if self.take(&line, &mut last) {
                        since = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                // It closed its output.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
            }
        };
        if !matches!(ending, Ending::Exited(_)) {
            end(&mut child)?;
        }
        self.drain(&lines, &mut last);
        Ok(Done { ending, phase: self.follower.phase(), last: last.into() })
    }

    /// Takes a line, and returns true if a phase begins with it.
    fn take(&mut self, line: &str, last: &mut VecDeque<String>) -> bool {
        (self.on_line)(line);
        if !line.trim().is_empty() {
            last.push_back(bounded(&visible(line), LONGEST_KEPT).into_owned());
            if last.len() > KEPT {
                last.pop_front();
            }
        }
        let next = self.follower.read(line);
        next.into_iter().for_each(|phase| (self.on_phase)(phase));
        next.is_some()
    }

    fn drain(&mut self, lines: &Receiver<String>, last: &mut VecDeque<String>) {
        let deadline = Instant::now() + REST;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.take(&line, last);
        }
    }
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

fn read_lines(stream: impl Read, lines: &Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // A stream that cannot be read counts as closed.
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Ends a program and everything that it started: it may clean up first.
fn end(child: &mut Child) -> io::Result<()> {
    let Some(leader) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return child.kill() };
    // `timeout` starts its program in a group of its own.
    let mut started = descendants(leader);
    signal(leader, &started, Signal::TERM);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && child.try_wait()?.is_none() {
        thread::sleep(TICK);
    }
    started.extend(descendants(leader));
    signal(leader, &started, Signal::KILL);
    child.wait().map(drop)
}

fn signal(leader: Pid, others: &HashSet<Pid>, signal: Signal) {
    // A process that has ended meanwhile is no error.
    let _ended = kill_process_group(leader, signal);
    for &pid in others {
        let _ended = kill_process(pid, signal);
    }
}

/// Returns the processes that the process has started, and those that they have started.
fn descendants(of: Pid) -> HashSet<Pid> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name of the program, in parentheses, may have any character.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent.and_then(Pid::from_raw)) {
            parents.push((pid, parent));
        }
    }
    let mut found = HashSet::from([of]);
    loop {
        let more: Vec<Pid> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            found.remove(&of);
            return found;
        }
        found.extend(more);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        cell::RefCell,
        process::Command,
        thread,
        time::{Duration, Instant},
    };

    use machinist_rollout::{
        Interrupt,
        install::phase::{Follower, Phase},
    };

    use super::{Done, Ending, Run};

    /// Runs a script with these deadlines, and returns the result with the phases that began.
    fn run(script: &str, deadline: &dyn Fn(Phase) -> Duration, interrupt: &Interrupt) -> (Done, Vec<Phase>) {
        let phases = RefCell::new(Vec::new());
        let run = Run {
            follower: Follower::new(false),
            deadline,
            interrupt,
            on_line: &|_| {},
            on_phase: &|phase| phases.borrow_mut().push(phase),
        };
        let done = run.follow(Command::new("bash").args(["-c", script])).unwrap();
        (done, phases.into_inner())
    }

    fn is_running(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[test]
    fn a_phase_over_its_deadline_ends_the_program_and_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().display();
        // One child in the group, one in a group of its own that ignores the first signal.
        let script = format!(
            "trap 'touch {pids}/cleaned' EXIT; echo '### Formatting hard drive with disko ###'; sleep 300 & echo $! >{pids}/a; \
             setsid bash -c 'trap \"\" TERM; echo $$ >{pids}/b; while :; do sleep 1; done' & echo '### Uploading the \
             system closure ###'; echo hangs >&2; wait; sleep 300"
        );
        let deadline = |phase| Duration::from_millis(if phase == Phase::Copy { 700 } else { 60_000 });
        let (done, phases) = run(&script, &deadline, &Interrupt::default());
        assert_eq!((done.ending, done.phase), (Ending::Deadline, Phase::Copy), "{done:?}");
        assert_eq!(phases, [Phase::Connect, Phase::Disko, Phase::Copy]);
        assert!(done.last.contains(&"hangs".to_owned()), "{done:?}");
        assert!(directory.path().join("cleaned").exists());
        let deadline = Instant::now() + Duration::from_secs(5);
        for file in ["a", "b"] {
            let pid = std::fs::read_to_string(directory.path().join(file)).unwrap();
            while is_running(&pid) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
            assert!(!is_running(&pid), "{file}");
        }
    }

    #[test]
    fn an_interruption_ends_it_at_once() {
        let interrupt = Interrupt::default();
        interrupt.set();
        let begun = Instant::now();
        let (done, _) = run("sleep 300", &|_| Duration::from_secs(300), &interrupt);
        assert_eq!((done.ending, done.phase), (Ending::Interrupted, Phase::Connect));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn its_own_end_and_its_last_words_are_reported() {
        let script = "for i in $(seq 1 40); do echo line $i; done; sleep 0.3; printf '\\033[2Jend' >&2; exit 7";
        let (done, _) = run(script, &|_| Duration::from_secs(60), &Interrupt::default());
        assert!(matches!(done.ending, Ending::Exited(status) if status.code() == Some(7)), "{done:?}");
        assert!(done.last.len() <= 12 && done.last.contains(&"\\u{1b}[2Jend".to_owned()), "{done:?}");
    }
}
