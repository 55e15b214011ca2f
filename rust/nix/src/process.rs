//! Runs programs: with a time limit or an observer, and with trimmed errors.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Read},
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{NixError, environment};

/// Interval at which an observer is queried.
const ROUND: Duration = Duration::from_millis(20);

/// Time for a program to end after it was asked to.
const END_BOUND: Duration = Duration::from_secs(5);

/// The result of a finished program.
#[derive(Debug)]
pub(crate) struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    /// Returns the standard output if the program succeeded.
    pub(crate) fn success(self, command: &str) -> Result<Vec<u8>, NixError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let message = match self.stderr.trim() {
            "" => format!("it exited with {}", self.status),
            _ => trim(&self.stderr),
        };
        Err(NixError::Failed { command: command.to_owned(), message })
    }
}

/// Observer of a program that runs for long.
pub trait Watch: Sync {
    /// Receives each line of the standard error as it is printed, without its end.
    fn line(&self, _line: &str) {}

    /// Returns true if the program is to be ended. Called every few milliseconds.
    fn stops(&self) -> bool {
        false
    }
}

/// Watches nothing.
impl Watch for () {}

/// Runs a program to its end, with an optional time limit, reading both streams at once.
pub(crate) fn run(program: &str, arguments: &[OsString], bound: Option<Duration>) -> Result<Finished, NixError> {
    let mut child = start(program, arguments)?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let status = wait(&mut child, program, bound)?;
    let stdout = stdout.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
    Ok(Finished { status, stdout, stderr })
}

/// Runs a program to its end, or until the observer stops it.
pub(crate) fn watched(program: &str, arguments: &[OsString], watch: &dyn Watch) -> Result<Finished, NixError> {
    let mut child = start(program, arguments)?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = child.stderr.take();
    let (status, stderr) = thread::scope(|scope| {
        let stderr = scope.spawn(move || stderr.map(|stream| lines(stream, watch)).unwrap_or_default());
        let status = wait_watched(&mut child, program, watch);
        (status, stderr.join().unwrap_or_default())
    });
    let finished = Finished { status: status?, stdout: stdout.join().unwrap_or_default(), stderr };
    // A terminal sends its interrupt to nix too, which then fails by itself.
    if watch.stops() { Err(NixError::Interrupted { program: program.to_owned() }) } else { Ok(finished) }
}

fn start(program: &str, arguments: &[OsString]) -> Result<Child, NixError> {
    let mut command = environment::program(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|source| spawn_error(program, source))
}

/// Waits for the program. nix removes unfinished builds when it is asked to end, so it is killed only if it does not.
fn wait_watched(child: &mut Child, program: &str, watch: &dyn Watch) -> Result<ExitStatus, NixError> {
    let io = |source| spawn_error(program, source);
    let mut stopped: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            return Ok(status);
        }
        match stopped {
            None if watch.stops() => {
                stopped = Some(Instant::now());
                let pid = rustix::process::Pid::from_child(child);
                // If it has just ended, the next round sees its status.
                let _ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            Some(since) if since.elapsed() > END_BOUND => child.kill().map_err(io)?,
            _ => {}
        }
        thread::sleep(ROUND);
    }
}

/// Reads a stream by lines. Returns the complete text.
fn lines(stream: impl Read, watch: &dyn Watch) -> String {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    // Data read before an error is still worth showing.
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let shown = String::from_utf8_lossy(&line);
        watch.line(shown.trim_end());
        text.push_str(&shown);
        line.clear();
    }
    text
}

fn wait(child: &mut Child, program: &str, bound: Option<Duration>) -> Result<ExitStatus, NixError> {
    let io = |source| spawn_error(program, source);
    let Some(bound) = bound else { return child.wait().map_err(io) };
    let end = Instant::now() + bound;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(io)? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill().and_then(|()| child.wait()).map_err(io)?;
            return Err(NixError::Timeout { program: program.to_owned(), bound });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn read_in_background(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // Data read before an error is still worth showing.
            let _partial = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

pub(crate) fn spawn_error(program: &str, source: std::io::Error) -> NixError {
    if source.kind() == std::io::ErrorKind::NotFound {
        NixError::Missing { program: program.to_owned() }
    } else {
        NixError::Io { program: program.to_owned(), source }
    }
}

/// Removes noise: the offer to show a trace, warnings beside an error, trailing blanks.
pub(crate) fn trim(stderr: &str) -> String {
    let noise = |line: &str| {
        let line = line.trim();
        line.contains("--show-trace")
            || line.starts_with("warning: Git tree")
            || line.starts_with("warning: not writing")
            || line.starts_with("warning: the flag '--override-input")
    };
    let kept: Vec<&str> = stderr.lines().filter(|line| !noise(line)).map(str::trim_end).collect();
    let text = kept.join("\n");
    text.trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    };

    use super::{Watch, run, trim, watched};
    use crate::NixError;

    #[test]
    fn a_program_that_hangs_is_ended_at_its_bound() {
        let error = run("sleep", &["60".into()], Some(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error, NixError::Timeout { .. }), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_what_to_install() {
        let error = run("nix-that-is-not-there", &[], None).unwrap_err();
        assert!(matches!(&error, NixError::Missing { program } if program == "nix-that-is-not-there"));
        assert!(error.hint().unwrap().contains("install Nix"), "{error}");
    }

    #[test]
    fn noise_is_trimmed_and_the_message_stays() {
        let stderr = "warning: Git tree '/x' is dirty\nerror: no\n\n       at /x:1:2:\n(use '--show-trace' to show detailed location information)\n";
        assert_eq!(trim(stderr), "error: no\n\n       at /x:1:2:");
    }

    /// Ends the program after its first line.
    #[derive(Default)]
    struct First {
        lines: Mutex<Vec<String>>,
        heard: AtomicBool,
    }

    impl Watch for First {
        fn line(&self, line: &str) {
            self.lines.lock().unwrap().push(line.to_owned());
            self.heard.store(true, Ordering::Relaxed);
        }

        fn stops(&self) -> bool {
            self.heard.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_program_that_is_stopped_may_clean_up_and_leaves_nothing_running() {
        let directory = tempfile::tempdir().unwrap();
        let end = directory.path().join("end");
        let script = format!(
            "trap 'echo cleaned >{}; exit 1' TERM; echo begun >&2; while :; do sleep 0.01; done",
            end.display()
        );
        let (first, begun) = (First::default(), Instant::now());
        let error = watched("sh", &["-c".into(), script.into()], &first).unwrap_err();
        assert!(matches!(&error, NixError::Interrupted { .. }), "{error}");
        assert_eq!(*first.lines.lock().unwrap(), ["begun"]);
        assert_eq!(std::fs::read_to_string(end).unwrap(), "cleaned\n");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_program_that_ends_by_itself_has_both_streams() {
        let finished =
            watched("sh", &["-c".into(), "echo out; echo one >&2; echo two >&2; exit 3".into()], &()).unwrap();
        assert_eq!((finished.stdout.as_slice(), finished.stderr.as_str()), (&b"out\n"[..], "one\ntwo\n"));
        assert_eq!(finished.status.code(), Some(3));
    }
}
