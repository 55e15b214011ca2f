//! Script to run on a host, and its result.

use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

/// The standard input of a script, after the script itself.
pub enum Stdin {
    /// Nothing: end of file at once.
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A stream of any length, read on a separate thread as fast as the host accepts it. If it fails, the request
    /// fails; the script sees an early end of file, so its format must distinguish complete input from a part (archives
    /// and [`put_files`](crate::put_files) do).
    Reader(Box<dyn Read + Send>),
}

impl fmt::Debug for Stdin {
    /// Shows only the kind and length: inputs are often private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}

/// An output stream of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A callback for each line, without its line ending, as it arrives. Bytes that are not UTF-8 are replaced; a line of
/// more than 64 KiB is delivered in parts.
pub(crate) type OnLine<'a> = Box<dyn FnMut(Stream, &str) + Send + 'a>;

/// A script for a host's `/bin/sh`.
///
/// The script is sent on standard input and evaluated by a fixed one-line loader, so neither it nor its input appears
/// in any argument list, sudo log or process table. It runs only if it arrived completely, and only its own output is
/// returned: the output of the user's login shell is kept separate.
pub struct Request<'a> {
    /// A short name for progress, errors and fakes, such as `import closure`.
    pub label: String,
    /// POSIX shell text; insert words with [`quote`](crate::quote).
    pub script: String,
    /// The input of the script.
    pub stdin: Stdin,
    /// The time limit of the complete request. When it expires, the channel is closed here, and the host's `timeout`
    /// command ends the script with its process group a little later.
    pub timeout: Duration,
    /// True if the script needs root: it runs under `sudo -n` when the user is not root.
    pub become_root: bool,
    /// The number of bytes kept of each stream. Excess standard output is an error, unless [`on_line`](Self::on_line)
    /// receives all of it; in that case, and for standard error, the last bytes are kept.
    pub output_limit: usize,
    pub(crate) on_line: Option<OnLine<'a>>,
    pub(crate) stdout: Option<&'a mut (dyn Write + Send)>,
}

impl<'a> Request<'a> {
    /// Returns a request that runs as root, reads no input, has a time limit of one minute, and keeps 8 MiB of output.
    pub fn new(label: impl Into<String>, script: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            script: script.into(),
            stdin: Stdin::None,
            timeout: Duration::from_secs(60),
            become_root: true,
            output_limit: 8 << 20,
            on_line: None,
            stdout: None,
        }
    }

    /// Sends `bytes` to the script.
    #[must_use]
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Sends everything that `reader` yields to the script.
    #[must_use]
    pub fn reader(mut self, reader: impl Read + Send + 'static) -> Self {
        self.stdin = Stdin::Reader(Box::new(reader));
        self
    }

    /// Sets the time limit of the complete request.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the script as the user that logged in.
    #[must_use]
    pub fn as_user(mut self) -> Self {
        self.become_root = false;
        self
    }

    /// Calls `on_line` for each line of both streams as it arrives.
    #[must_use]
    pub fn on_line(mut self, on_line: impl FnMut(Stream, &str) + Send + 'a) -> Self {
        self.on_line = Some(Box::new(on_line));
        self
    }

    /// Writes standard output to `writer` as it arrives, regardless of its length, instead of keeping it.
    #[must_use]
    pub fn stdout_to(mut self, writer: &'a mut (dyn Write + Send)) -> Self {
        self.stdout = Some(writer);
        self
    }
}

impl fmt::Debug for Request<'_> {
    /// Omits the script: it may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("label", &self.label)
            .field("stdin", &self.stdin)
            .field("timeout", &self.timeout)
            .field("become_root", &self.become_root)
            .finish_non_exhaustive()
    }
}

/// The exit status of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this status; 0 is success, 127 a command that does not exist on the host.
    Exited(i32),
    /// A signal killed it; the name is without `SIG`, such as `KILL`.
    Signaled(String),
}

impl fmt::Display for Status {
    /// Prints a verb phrase, such as `exited with status 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Signaled(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit status.
    pub status: Status,
    /// Its standard output, or the end of it; empty if a writer received it.
    pub stdout: Vec<u8>,
    /// Its standard error, or the end of it.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns true if the command exited with status 0.
    pub fn is_success(&self) -> bool {
        self.status == Status::Exited(0)
    }

    /// Returns standard output as text; bytes that are not UTF-8 are replaced.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text; bytes that are not UTF-8 are replaced.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns the last `n_lines` lines of standard error that are not blank.
    pub fn stderr_tail(&self, n_lines: usize) -> String {
        let text = self.stderr_text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(n_lines)..].join("\n")
    }
}
