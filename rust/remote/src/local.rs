//! This computer as a host: scripts run in a shell here, without SSH.

use std::{
    io::{Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    endpoint::Endpoint,
    error::RemoteError,
    request::{Output, Request, Status, Stdin, Stream},
    session::Remote,
    text::Text,
};

/// Delay of the shell's own `timeout` after ours.
const MARGIN: Duration = Duration::from_secs(2);

/// Directories of programs on NixOS and on a host with Nix, before those of the caller.
const PATH: &str = "/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin";

/// This computer as the host of a node. The caller must be root if the scripts need it.
#[derive(Clone, Debug)]
pub struct Local {
    at: Arc<Endpoint>,
}

impl Local {
    /// Returns this computer as the host of the node.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let at = Endpoint { node: node.to_owned(), user: "root".to_owned(), host: "this computer".to_owned(), port: 0 };
        Self { at: Arc::new(at) }
    }
}

impl Remote for Local {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let at = Arc::clone(&self.at);
        if request.script.contains('\0') {
            let reason = "the script contains a NUL byte";
            return Err(RemoteError::InvalidRequest { at, label: request.label, reason });
        }
        let begun = Instant::now();
        let lost = |reason: std::io::Error| RemoteError::ConnectionLost {
            at: Arc::clone(&self.at),
            label: request.label.clone(),
            after: begun.elapsed(),
            reason: reason.to_string(),
        };
        let mut child = start(&request).map_err(lost)?;
        feed(&mut child, &request.script, request.stdin);
        Call { at, label: request.label, limit: request.timeout, begun, child }.collect(Sink {
            on_line: request.on_line,
            writer: request.stdout,
            limit: request.output_limit,
        })
    }
}

/// Starts the shell, which reads its script from standard input, as on a host: neither the script nor its input is in
/// an argument list. It has its own process group, so that Ctrl-C in a terminal does not reach it.
fn start(request: &Request<'_>) -> std::io::Result<Child> {
    let length = wrap(&request.script).len();
    let seconds = (request.timeout + MARGIN).as_secs().clamp(1, 100_000_000);
    let path = std::env::var("PATH").map_or_else(|_| PATH.to_owned(), |path| format!("{PATH}:{path}"));
    machinist_environment::program("timeout")
        .args(["-k", "10", &seconds.to_string(), "/bin/sh", "-c"])
        .arg(format!("s=$(head -c {length}) && eval \"$s\""))
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// A part of the text is a syntax error: if this process ends while it is written, nothing runs.
fn wrap(script: &str) -> String {
    format!("{{ umask 022\n(unset s\n{script}\n)\n}}")
}

fn feed(child: &mut Child, script: &str, input: Stdin) {
    let Some(mut stdin) = child.stdin.take() else { return };
    let script = wrap(script);
    // Detached: a reader that never returns must not block a request that has timed out. A script that ends early
    // closes its input.
    thread::spawn(move || {
        let _closed = stdin.write_all(script.as_bytes()).and_then(|()| match input {
            Stdin::None => Ok(()),
            Stdin::Bytes(bytes) => stdin.write_all(&bytes),
            Stdin::Reader(mut reader) => std::io::copy(&mut *reader, &mut stdin).map(drop),
        });
    });
}

/// Destination of the output.
struct Sink<'a> {
    on_line: Option<crate::request::OnLine<'a>>,
    writer: Option<&'a mut (dyn std::io::Write + Send)>,
    limit: usize,
}

/// A request in progress. Dropping it ends the shell with its processes.
struct Call {
    at: Arc<Endpoint>,
    label: String,
    limit: Duration,
    begun: Instant,
    child: Child,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _reaped = self.child.wait();
        }
    }
}

impl Call {
    fn collect(mut self, mut sink: Sink<'_>) -> Result<Output, RemoteError> {
        let (sender, receiver) = mpsc::channel();
        read(self.child.stdout.take(), Stream::Stdout, sender.clone());
        read(self.child.stderr.take(), Stream::Stderr, sender);
        let (mut stdout, mut stderr) = (Text::default(), Text::default());
        loop {
            let left = self.limit.saturating_sub(self.begun.elapsed());
            match receiver.recv_timeout(left) {
                Ok((stream, bytes)) => {
                    let text = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
                    self.keep(stream, &bytes, text, &mut sink)?;
                }
                // Both streams have ended.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => return Err(self.timeout()),
            }
            if self.begun.elapsed() >= self.limit {
                return Err(self.timeout());
            }
        }
        for (stream, text) in [(Stream::Stdout, &mut stdout), (Stream::Stderr, &mut stderr)] {
            text.last_line(stream, &mut sink.on_line);
        }
        let status = self.child.wait().map_err(|source| self.cannot_store(source))?;
        Ok(Output { status: status_of(status), stdout: stdout.finish(sink.limit), stderr: stderr.finish(sink.limit) })
    }

    fn keep(&self, stream: Stream, bytes: &[u8], text: &mut Text, sink: &mut Sink<'_>) -> Result<(), RemoteError> {
        if let (Stream::Stdout, Some(writer)) = (stream, sink.writer.as_mut()) {
            return writer.write_all(bytes).map_err(|source| self.cannot_store(source));
        }
        text.push(stream, bytes, &mut sink.on_line);
        if stream == Stream::Stdout && sink.on_line.is_none() && text.len() > sink.limit {
            return Err(RemoteError::OutputTooLong {
                at: Arc::clone(&self.at),
                label: self.label.clone(),
                limit: sink.limit,
            });
        }
        text.trim(sink.limit);
        Ok(())
    }

    fn timeout(&self) -> RemoteError {
        RemoteError::Timeout { at: Arc::clone(&self.at), label: self.label.clone(), limit: self.limit }
    }

    fn cannot_store(&self, source: std::io::Error) -> RemoteError {
        RemoteError::Output { at: Arc::clone(&self.at), label: self.label.clone(), source }
    }
}

fn read(stream: Option<impl Read + Send + 'static>, kind: Stream, sender: mpsc::Sender<(Stream, Vec<u8>)>) {
    let Some(mut stream) = stream else { return };
    // Detached: a background process of the script may keep the stream open after the time limit.
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if sender.send((kind, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// `timeout` reports the signal of its command as a status above 128.
fn status_of(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Exited(code),
        (None, signal) => Status::Signaled(signal.map_or_else(|| "?".to_owned(), |signal| signal.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use super::Local;
    use crate::{Remote as _, RemoteError, Request, Status, Stream};

    fn run(request: Request<'_>) -> Result<crate::Output, RemoteError> {
        Local::new("a").run(request)
    }

    #[test]
    fn a_script_runs_here_with_its_input_and_without_the_callers_variables() {
        let output =
            run(Request::new("x", "cat; echo \"${CARGO_MANIFEST_DIR-none}\"; echo e >&2; exit 3").bytes("in\n"))
                .unwrap();
        assert_eq!((output.stdout_text().as_str(), output.stderr_text().as_str()), ("in\nnone\n", "e\n"));
        assert_eq!(output.status, Status::Exited(3));
        assert_eq!(run(Request::new("x", "")).unwrap().status, Status::Exited(0));
        let reader = std::io::Cursor::new(vec![b'x'; 3 << 20]);
        assert_eq!(run(Request::new("x", "wc -c").reader(reader)).unwrap().stdout_text().trim(), "3145728");
    }

    #[test]
    fn a_script_that_hangs_ends_at_its_limit_with_its_processes() {
        let begun = Instant::now();
        let mark = format!("300.{}", std::process::id());
        let script = format!("sleep {mark} & sleep {mark}");
        let error = run(Request::new("x", script).timeout(Duration::from_millis(300))).unwrap_err();
        assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let left = || {
            let found = std::process::Command::new("pgrep").args(["-f", &format!("sleep {mark}")]).output().unwrap();
            String::from_utf8(found.stdout).unwrap()
        };
        // The kernel ends them after the signal was sent.
        while !left().is_empty() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(left(), "");
    }

    #[test]
    fn lines_and_limits_are_those_of_a_host() {
        let mut lines = Vec::new();
        let request = Request::new("x", "echo one; echo two >&2; printf three");
        run(request.on_line(|stream, line| lines.push((stream == Stream::Stdout, line.to_owned())))).unwrap();
        lines.sort();
        assert_eq!(lines, [(false, "two".to_owned()), (true, "one".to_owned()), (true, "three".to_owned())]);
        let mut request = Request::new("x", "head -c 5000 /dev/zero");
        request.output_limit = 1000;
        assert!(matches!(run(request).unwrap_err(), RemoteError::OutputTooLong { limit: 1000, .. }));
        assert!(matches!(run(Request::new("x", "\0")).unwrap_err(), RemoteError::InvalidRequest { .. }));
        let mut written = Vec::new();
        run(Request::new("x", "head -c 9000000 /dev/zero").stdout_to(&mut written)).unwrap();
        assert_eq!(written.len(), 9_000_000);
    }
}
