//! A command of the operator on one machine, which ends with the operator's command.

use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use machinist_remote::{Remote, RemoteError, Request, Status, Stream};
use machinist_rollout::Interrupt;

/// Interval of the look at the interrupt.
const LOOK: Duration = Duration::from_millis(50);

/// Time limit for ending a command.
const END: Duration = Duration::from_secs(10);

/// Command to run.
pub(super) struct Command<'a> {
    /// Name in errors.
    pub label: &'static str,
    /// POSIX shell text.
    pub script: &'a str,
    /// Standard input.
    pub input: Arc<[u8]>,
    /// True to run as the user that logs in.
    pub as_user: bool,
    /// Time limit.
    pub timeout: Duration,
}

/// Runs a command, whose lines go to `line`. When the interrupt is set or the time is over, the command is terminated on
/// the machine, with its children: the end of a connection alone would leave them running.
///
/// # Errors
/// The command did not run to its end.
pub(super) fn run(
    remote: &Arc<dyn Remote>,
    command: Command<'_>,
    interrupt: &Interrupt,
    mut line: impl FnMut(Stream, &str) + Send,
) -> Result<Status, RemoteError> {
    let (process, ended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = Watch {
        remote: Arc::clone(remote),
        interrupt: interrupt.clone(),
        as_user: command.as_user,
        process: Arc::clone(&process),
        ended: Arc::clone(&ended),
    };
    let watch = Arc::new(watch);
    let watching = Arc::clone(&watch);
    let watcher = thread::spawn(move || watching.until_ended());
    // `timeout`, the parent of the loader's shell, leads the group of all its children.
    let script = format!("printf '%s\\n' \"$PPID\"\n{}", command.script);
    let mut request = Request::new(command.label, script).reader(Cursor::new(command.input)).timeout(command.timeout);
    request.become_root = !command.as_user;
    request.output_limit = 0;
    let result = remote.run(request.on_line(|stream, text| {
        if stream == Stream::Stdout && process.load(Ordering::Relaxed) == 0 {
            process.store(text.parse().unwrap_or(0).max(1), Ordering::Relaxed);
        } else {
            line(stream, text);
        }
    }));
    ended.store(true, Ordering::Relaxed);
    let _finished = watcher.join();
    if result.is_err() {
        watch.terminate();
    }
    result.map(|output| output.status)
}

/// Thread that ends a command when the operation is interrupted.
struct Watch {
    remote: Arc<dyn Remote>,
    interrupt: Interrupt,
    as_user: bool,
    /// Process of the machine that receives the signal; 0 before it is known.
    process: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
}

impl Watch {
    fn until_ended(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            if self.interrupt.is_set() && self.process.load(Ordering::Relaxed) > 1 {
                return self.terminate();
            }
            thread::sleep(LOOK);
        }
    }

    fn terminate(&self) {
        let process = self.process.load(Ordering::Relaxed);
        if process <= 1 {
            return;
        }
        // The leader may have ended before its children; its number is not given to another process while they are there.
        let script = format!(
            "if read -r name </proc/{process}/comm; then [ \"$name\" = timeout ] || exit 0; fi 2>/dev/null\n\
             kill -TERM -{process}"
        );
        let mut request = Request::new("end the command", script).timeout(END);
        request.become_root = !self.as_user;
        // On an error the command has ended, or the connection has: nothing more can be done from here.
        let _ended = self.remote.run(request);
    }
}
