//! A command of the operator on one machine, which ends with the operator's command.

use std::{
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
    pub input: Vec<u8>,
    /// True to run as the user that logs in.
    pub as_user: bool,
    /// Time limit.
    pub timeout: Duration,
}

/// Runs a command, whose lines go to `line`. When the interrupt is set, the command is terminated on the machine: the
/// end of a connection alone would leave it running.
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
    let watcher = thread::spawn(move || watch.until_ended());
    // `timeout`, the parent of the loader's shell, passes a signal on to the whole group.
    let script = format!("printf '%s\\n' \"$PPID\"\n{}", command.script);
    let mut request = Request::new(command.label, script).bytes(command.input).timeout(command.timeout);
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
            let process = self.process.load(Ordering::Relaxed);
            if self.interrupt.is_set() && process > 1 {
                return self.terminate(process);
            }
            thread::sleep(LOOK);
        }
    }

    fn terminate(&self, process: u32) {
        // The number may belong to another process by now.
        let script = format!("read -r name </proc/{process}/comm && [ \"$name\" = timeout ] && kill -TERM {process}");
        let mut request = Request::new("end the command", script).timeout(END);
        request.become_root = !self.as_user;
        // On an error the command has ended, or the connection has: nothing more can be done from here.
        let _ended = self.remote.run(request);
    }
}
