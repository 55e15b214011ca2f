//! Request on one channel, from the caller's side.

use crate::driver::{Job, Target};
use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::frame::{Marks, Unframe};
use crate::lanes::Lanes;
use crate::link::{ChannelFailure, Event, Link};
use crate::request::{OnLine, Output, Request, Status, Stdin, Stream};
use crate::text::Text;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Size of one read from a [`Stdin::Reader`].
const READ_SIZE: usize = 256 << 10;

/// Delay of the host's own `timeout` after ours: the error should come from here.
const HOST_TIMEOUT_MARGIN: Duration = Duration::from_secs(2);

/// Maximum output of a host's login shell on a stream before the script begins.
const PREAMBLE_LIMIT: usize = 1 << 20;

/// Returns the command line that reads a script of `length` bytes from standard input and evaluates it.
///
/// The script is evaluated in the loader's own shell, from a variable: `sh -c "$s"` would show it in the process table.
/// GNU `head` reads no byte more than requested, so that the script finds its own input. The line works in the common
/// login shells: POSIX ones, fish and csh.
fn loader(length: usize, timeout: Duration, sudo: bool) -> String {
    let become_root = if sudo { "sudo -n -- " } else { "" };
    // 10^8 seconds, three years, mean no limit; some `timeout` programs reject much more.
    let seconds = timeout.saturating_add(HOST_TIMEOUT_MARGIN).as_secs().clamp(1, 100_000_000);
    format!("exec {become_root}timeout -k 10 {seconds} /bin/sh -c 's=$(head -c {length}) && eval \"$s\"'")
}

/// Runs `request` on a new channel.
pub(crate) fn run(
    lanes: &Lanes,
    at: &Arc<Endpoint>,
    may_sudo: bool,
    request: Request<'_>,
) -> Result<Output, RemoteError> {
    let label = request.label;
    if request.script.contains('\0') {
        return Err(RemoteError::InvalidRequest { at: at.clone(), label, reason: "the script contains a NUL byte" });
    }
    let sudo = may_sudo && request.become_root && at.user != "root";
    let marks =
        Marks::random().map_err(|source| RemoteError::Input { at: at.clone(), label: label.clone(), source })?;
    let script = marks.wrap(&request.script);
    let command = loader(script.len(), request.timeout, sudo);
    let first = lanes.first();
    let call = Call {
        at,
        lanes,
        command,
        label,
        started: Instant::now(),
        limit: request.timeout,
        link: Link::new(first.waker.clone()),
        input_error: Arc::default(),
    };
    // Before its input, whose queue is bounded: only the driver empties it.
    let job = Job::new(Target::Command(call.command.clone()), call.link.clone());
    first.submit(job).map_err(|reason| call.lost(reason))?;
    call.link.send(script);
    feed(&call.link, request.stdin, &call.input_error);
    let sink = Sink { on_line: request.on_line, writer: request.stdout, limit: request.output_limit };
    call.collect(&marks, sink, sudo)
}

/// Starts sending the input.
fn feed(link: &Arc<Link>, stdin: Stdin, input_error: &Arc<Mutex<Option<io::Error>>>) {
    match stdin {
        Stdin::None => link.end_input(),
        Stdin::Bytes(bytes) => {
            link.send(bytes);
            link.end_input();
        }
        Stdin::Reader(mut reader) => {
            let (link, input_error) = (link.clone(), input_error.clone());
            // Detached: a reader that never returns must not block a request that has timed out.
            std::thread::spawn(move || match forward(&mut *reader, &link) {
                Ok(()) => link.end_input(),
                Err(error) => {
                    *input_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    link.cancel();
                    // The caller waits only for events.
                    link.report(Event::Done(Err(ChannelFailure::Lost("input failed".to_owned()))));
                }
            });
        }
    }
}

fn forward(reader: &mut dyn Read, link: &Link) -> io::Result<()> {
    loop {
        let mut chunk = vec![0; READ_SIZE];
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                chunk.truncate(length);
                if !link.send(chunk) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Destination of the output.
struct Sink<'a> {
    on_line: Option<OnLine<'a>>,
    writer: Option<&'a mut (dyn Write + Send)>,
    limit: usize,
}

/// A request in progress.
struct Call<'a> {
    at: &'a Arc<Endpoint>,
    lanes: &'a Lanes,
    command: String,
    label: String,
    started: Instant,
    limit: Duration,
    link: Arc<Link>,
    input_error: Arc<Mutex<Option<io::Error>>>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Also if the callback panics: the channel must not stay open. No effect after the end.
        self.link.cancel();
    }
}

impl Call<'_> {
    fn collect(&self, marks: &Marks, mut sink: Sink<'_>, sudo: bool) -> Result<Output, RemoteError> {
        let mut stdout = Kept::new(marks);
        let mut stderr = Kept::new(marks);
        let deadline = self.started.checked_add(self.limit);
        loop {
            match self.link.next(deadline) {
                Some(Event::Data(stream, bytes)) => {
                    let kept = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
                    self.take(stream, &bytes, kept, &mut sink)?;
                }
                Some(Event::Done(Ok(status))) => {
                    for (stream, kept) in [(Stream::Stdout, &mut stdout), (Stream::Stderr, &mut stderr)] {
                        let rest = kept.frame.rest();
                        self.keep(stream, &rest, kept, &mut sink)?;
                        kept.text.last_line(stream, &mut sink.on_line);
                    }
                    self.check_frame(&stdout, &stderr, &status, sudo)?;
                    return Ok(Output {
                        status,
                        stdout: stdout.text.finish(sink.limit),
                        stderr: stderr.text.finish(sink.limit),
                    });
                }
                Some(Event::Done(Err(failure))) => return Err(self.explain(failure)),
                Some(Event::NoSession) => self.move_elsewhere()?,
                None => {
                    return Err(RemoteError::Timeout {
                        at: self.at.clone(),
                        label: self.label.clone(),
                        limit: self.limit,
                    });
                }
            }
            // A host that writes without pause keeps events coming.
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(RemoteError::Timeout { at: self.at.clone(), label: self.label.clone(), limit: self.limit });
            }
        }
    }

    /// Distinguishes the script's output from that of a login shell, and a complete one from a truncated one.
    fn check_frame(
        &self,
        stdout: &Kept<'_>,
        stderr: &Kept<'_>,
        status: &Status,
        sudo: bool,
    ) -> Result<(), RemoteError> {
        let (at, label) = (self.at.clone(), self.label.clone());
        if !stdout.frame.has_begun() {
            let said = stderr.frame.preamble();
            // sudo's own message comes before the script could print.
            if let Some(message) = said.lines().find(|line| line.starts_with("sudo: ")).filter(|_| sudo) {
                return Err(RemoteError::BecomeRoot { at, label, message: message.to_owned() });
            }
            let said = [said, stdout.frame.preamble()].into_iter().find(|said| !said.is_empty()).unwrap_or_default();
            return Err(RemoteError::NotStarted { at, label, status: status.clone(), said });
        }
        if *status == Status::Exited(0) && !stdout.frame.has_ended() {
            return Err(RemoteError::CutOff { at, label });
        }
        Ok(())
    }

    /// Processes incoming bytes: only the script's own output counts.
    fn take(&self, stream: Stream, bytes: &[u8], kept: &mut Kept<'_>, sink: &mut Sink<'_>) -> Result<(), RemoteError> {
        let body = kept.frame.push(bytes);
        if kept.frame.n_before() > PREAMBLE_LIMIT {
            let (at, label) = (self.at.clone(), self.label.clone());
            return Err(RemoteError::Noise { at, label, limit: PREAMBLE_LIMIT });
        }
        self.keep(stream, &body, kept, sink)
    }

    fn keep(&self, stream: Stream, bytes: &[u8], kept: &mut Kept<'_>, sink: &mut Sink<'_>) -> Result<(), RemoteError> {
        if let (Stream::Stdout, Some(writer)) = (stream, sink.writer.as_mut()) {
            let written = writer.write_all(bytes);
            return written.map_err(|source| RemoteError::Output {
                at: self.at.clone(),
                label: self.label.clone(),
                source,
            });
        }
        kept.text.push(stream, bytes, &mut sink.on_line);
        if stream == Stream::Stdout && sink.on_line.is_none() && kept.text.len() > sink.limit {
            return Err(RemoteError::OutputTooLong {
                at: self.at.clone(),
                label: self.label.clone(),
                limit: sink.limit,
            });
        }
        kept.text.trim(sink.limit);
        Ok(())
    }

    /// Continues on a further connection, because the host allows no further session on this one.
    fn move_elsewhere(&self) -> Result<(), RemoteError> {
        match self.lanes.elsewhere(&self.command, &self.link)? {
            Some(()) => Ok(()),
            None => Err(self.lost("the host allows too few sessions per connection (MaxSessions)".to_owned())),
        }
    }

    fn explain(&self, failure: ChannelFailure) -> RemoteError {
        let (at, label) = (self.at.clone(), self.label.clone());
        if let Some(source) = self.input_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return RemoteError::Input { at, label, source };
        }
        match failure {
            ChannelFailure::Lost(reason) => self.lost(reason),
            ChannelFailure::Channel(source) => RemoteError::Channel { at, label, source },
        }
    }

    fn lost(&self, reason: String) -> RemoteError {
        RemoteError::ConnectionLost {
            at: self.at.clone(),
            label: self.label.clone(),
            after: self.started.elapsed(),
            reason,
        }
    }
}

/// Output of one stream: the script's own part of it.
struct Kept<'a> {
    frame: Unframe<'a>,
    text: Text,
}

impl<'a> Kept<'a> {
    fn new(marks: &'a Marks) -> Self {
        Self { frame: Unframe::new(marks), text: Text::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::process::{Command, Stdio};

    /// Runs the loader's command line locally, with `sent` of the wrapped script's bytes followed by `input`.
    fn run_loader(script: &str, sent: Option<usize>, input: &str) -> (i32, String) {
        let marks = Marks::random().unwrap();
        let script = marks.wrap(script);
        let command = loader(script.len(), Duration::from_secs(10), false);
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&script[..sent.unwrap_or(script.len())]).unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let mut frame = Unframe::new(&marks);
        let body = frame.push(&output.stdout);
        let (status, whole) = (output.status.code().unwrap(), sent.is_none());
        assert_eq!((frame.has_begun(), frame.has_ended()), (whole, whole), "status {status}");
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_script_finds_exactly_its_own_input() {
        assert_eq!(run_loader("cat", None, "the input\n"), (0, "the input\n".to_owned()));
        assert_eq!(run_loader("exit 3", None, ""), (3, String::new()));
        assert_eq!(run_loader("", None, ""), (0, String::new()));
        assert_eq!(run_loader("echo it\\'s # a comment", None, ""), (0, "it's\n".to_owned()));
    }

    #[test]
    fn a_script_that_arrives_in_part_does_not_run() {
        let script = "echo one\necho two";
        for sent in 0..Marks::random().unwrap().wrap(script).len() {
            let (status, stdout) = run_loader(script, Some(sent), "");
            assert_eq!(stdout, "", "{sent} bytes of the script ran and gave status {status}");
        }
    }

    /// Runs the gate of keys that only read (modules/privileges) on a script whose body it knows as `known`, with one variable.
    fn gate(known: &str, text: &[u8], command: &str) -> (Option<i32>, String, String) {
        use sha2::{Digest as _, Sha256};
        let digest: String = Sha256::digest(known.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let table = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(table.path(), format!("{digest} word known\n")).unwrap();
        let gate = include_str!("../../../modules/privileges/gate.sh");
        let gate = format!("table={}\n{gate}", table.path().display());
        // The mapped user is root, as on a node.
        let mut child = Command::new("unshare")
            .args(["--user", "--map-root-user", "bash", "-c", &gate])
            .env("SSH_ORIGINAL_COMMAND", command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A gate that refuses does not read it.
        let _closed = child.stdin.take().unwrap().write_all(text);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs it on a script as a session sends it. Returns the status and the script's own output.
    fn gated(known: &str, script: &str) -> (Option<i32>, String) {
        let marks = Marks::random().unwrap();
        let text = marks.wrap(script);
        let command = loader(text.len(), Duration::from_secs(10), true);
        let (status, stdout, stderr) = gate(known, &[&text[..], b"input"].concat(), &command);
        let mut frame = Unframe::new(&marks);
        let body = frame.push(stdout.as_bytes());
        assert!(frame.has_begun() && frame.has_ended(), "{stdout:?} {stderr:?}");
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_key_that_reads_runs_known_scripts_with_plain_words() {
        let known = "printf '%s|' \"$word\"\ncat\n";
        for word in ["a", "it's", "$(id)", "'; id #", "a\nb=c", "", "\\", "\\'"] {
            let script = format!("word={}\n{known}", crate::quote(word));
            assert_eq!(gated(known, &script), (Some(0), format!("{word}|input")), "{word:?}");
        }
        let (status, output) = gated("exit 3", "printf '%s\\n' \"$PPID\"\nexit 3");
        assert_eq!((status, output.trim().parse::<u32>().is_ok()), (Some(3), true), "{output}");
    }

    #[test]
    fn a_key_that_reads_runs_nothing_else() {
        let known = "echo \"$word\"\n";
        for script in [
            "echo ran".to_owned(),
            format!("{known}echo ran"),
            format!("echo ran\n{known}"),
            format!("PATH=/tmp\n{known}"),
            format!("other=ran\n{known}"),
            format!("word=$(echo ran)\n{known}"),
            format!("word='a'`echo ran`\n{known}"),
            format!("word=a echo ran\n{known}"),
            format!("word='a\n{known}"),
            format!("word=a;echo ran\n{known}"),
            format!("word=a\\\n{known}"),
            "word=a\n".to_owned(),
            String::new(),
            format!("{known})\necho ran\n("),
        ] {
            assert_eq!(gated(known, &script), (Some(77), String::new()), "{script:?}");
        }
    }

    #[test]
    fn a_key_that_reads_gets_no_other_command_line() {
        let text = Marks::of_test().wrap("echo ran");
        let good = loader(text.len(), Duration::from_secs(10), false);
        assert_eq!(gate("echo ran", &text, &good).0, Some(0));
        for command in [
            "",
            "id",
            "/usr/lib/openssh/sftp-server",
            &format!("{good}; id"),
            &format!("{good}\nid"),
            &good.replace("/bin/sh", "/tmp/sh"),
            &good.replace("timeout", "/tmp/timeout"),
            &good.replace("-k 10", "-k 10 -s 9"),
            // `timeout` takes zero for no limit.
            &good.replace("-k 10 12", "-k 10 0"),
            &good.replace("-k 10 12", "-k 10 000"),
            &loader(text.len() - 1, Duration::from_secs(10), false),
            &loader(text.len() + 1, Duration::from_secs(10), false),
        ] {
            let (status, stdout, stderr) = gate("echo ran", &text, command);
            assert!(status == Some(77) && stdout.is_empty(), "{command:?}: {status:?} {stdout:?} {stderr:?}");
            assert!(stderr.starts_with("machinist-read: "), "{command:?}: {stderr}");
        }
        let changed = [b"echo ran; ".as_slice(), &text].concat();
        assert_eq!(gate("echo ran", &changed, &loader(changed.len(), Duration::from_secs(10), false)).0, Some(77));
    }

    #[test]
    fn sudo_does_not_get_the_script_as_an_argument() {
        let command = loader(7, Duration::from_secs(60), true);
        assert_eq!(command, "exec sudo -n -- timeout -k 10 62 /bin/sh -c 's=$(head -c 7) && eval \"$s\"'");
    }
}
