//! Fake host for tests: answers by script, records its requests, and fails on demand.

use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::files::{self, RemoteEntry};
use crate::request::{Output, Request, Status, Stdin, Stream};
use crate::session::Remote;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A request as the fake host received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The request's short name.
    pub label: String,
    /// The script.
    pub script: String,
    /// All of its input.
    pub stdin: Vec<u8>,
    /// Its time limit.
    pub timeout: Duration,
    /// True if it requested root.
    pub become_root: bool,
}

/// A file that was put on the fake host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedFile {
    /// The contents.
    pub contents: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
    /// The owner, as `user:group`.
    pub owner: String,
}

/// Failure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the host has done anything.
    ConnectionLost,
    /// The host executes the request, but the connection breaks before the answer arrives.
    AnswerLost,
    /// The host hangs for the complete time limit; reported at once, without waiting.
    Hang,
    /// The command exits with this status without doing anything.
    Exit(i32),
}

type Answer = Box<dyn FnMut(&RecordedRequest) -> Output + Send>;

#[derive(Default)]
struct State {
    rules: Vec<(String, Answer)>,
    faults: BTreeMap<usize, Fault>,
    requests: Vec<RecordedRequest>,
    files: BTreeMap<String, PlacedFile>,
}

/// A scripted [`Remote`]. A request that no rule matches exits with status 127 and a message.
pub struct FakeRemote {
    at: Arc<Endpoint>,
    state: Mutex<State>,
}

impl FakeRemote {
    /// Returns a host without any answers, which accepts only [`put_files`](crate::put_files).
    pub fn new(node: impl Into<String>) -> Self {
        let at = Endpoint { node: node.into(), user: "root".to_owned(), host: "192.0.2.1".to_owned(), port: 22 };
        Self { at: Arc::new(at), state: Mutex::default() }
    }

    /// Answers requests whose label or script contains `text`. The latest rule that matches wins.
    #[must_use]
    pub fn answer(self, text: &str, status: i32, stdout: &str, stderr: &str) -> Self {
        let output = Output { status: Status::Exited(status), stdout: stdout.into(), stderr: stderr.into() };
        self.answer_with(text, move |_| output.clone())
    }

    /// The same, with an answer that is computed from the request, or changes from call to call.
    #[must_use]
    pub fn answer_with(self, text: &str, answer: impl FnMut(&RecordedRequest) -> Output + Send + 'static) -> Self {
        self.lock().rules.push((text.to_owned(), Box::new(answer)));
        self
    }

    /// Makes the `n`th call from now on fail, counted from 1.
    #[must_use]
    pub fn fail_call(self, n: usize, fault: Fault) -> Self {
        let mut state = self.lock();
        let call = state.requests.len() + n;
        state.faults.insert(call, fault);
        drop(state);
        self
    }

    /// Returns all requests so far, in their order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    /// Returns the labels of all requests so far, in their order.
    pub fn labels(&self) -> Vec<String> {
        self.lock().requests.iter().map(|request| request.label.clone()).collect()
    }

    /// Returns the files that were put on the host, by path.
    pub fn files(&self) -> BTreeMap<String, PlacedFile> {
        self.lock().files.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn execute(&mut self, request: &RecordedRequest) -> Output {
        let rule =
            self.rules.iter_mut().rev().find(|(text, _)| request.label.contains(text) || request.script.contains(text));
        if let Some((_, answer)) = rule {
            return answer(request);
        }
        let entries = files::decode(&request.stdin).filter(|_| request.script == files::SCRIPT);
        if let Some(entries) = entries {
            return output(0, entries.into_iter().map(|entry| self.place(entry)).collect(), String::new());
        }
        output(127, String::new(), format!("FakeRemote: no answer for `{}`", request.label))
    }

    fn place(&mut self, entry: RemoteEntry) -> &'static str {
        match entry {
            RemoteEntry::Directory(_) => "same\n",
            RemoteEntry::File(file) => {
                let placed = PlacedFile { contents: file.contents, mode: file.mode, owner: file.owner };
                if self.files.insert(file.path, placed.clone()) == Some(placed) { "same\n" } else { "changed\n" }
            }
        }
    }
}

fn output(status: i32, stdout: String, stderr: String) -> Output {
    Output { status: Status::Exited(status), stdout: stdout.into_bytes(), stderr: stderr.into_bytes() }
}

impl Remote for FakeRemote {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let (at, label) = (self.at.clone(), request.label.clone());
        let stdin = match request.stdin {
            Stdin::None => Vec::new(),
            Stdin::Bytes(bytes) => bytes,
            Stdin::Reader(mut reader) => {
                let mut bytes = Vec::new();
                let read = reader.read_to_end(&mut bytes);
                read.map_err(|source| RemoteError::Input { at: at.clone(), label: label.clone(), source })?;
                bytes
            }
        };
        let recorded = RecordedRequest {
            label: request.label,
            script: request.script,
            stdin,
            timeout: request.timeout,
            become_root: request.become_root,
        };
        let mut state = self.lock();
        state.requests.push(recorded.clone());
        let call = state.requests.len();
        let lost = || RemoteError::ConnectionLost {
            at: at.clone(),
            label: label.clone(),
            after: Duration::ZERO,
            reason: "injected fault".to_owned(),
        };
        let mut output = match state.faults.remove(&call) {
            None => state.execute(&recorded),
            Some(Fault::Exit(status)) => output(status, String::new(), "injected fault".to_owned()),
            Some(Fault::ConnectionLost) => return Err(lost()),
            Some(Fault::AnswerLost) => {
                state.execute(&recorded);
                return Err(lost());
            }
            Some(Fault::Hang) => return Err(RemoteError::Timeout { at, label, limit: recorded.timeout }),
        };
        drop(state);
        if let Some(mut on_line) = request.on_line {
            output.stdout_text().lines().for_each(|line| on_line(Stream::Stdout, line));
            output.stderr_text().lines().for_each(|line| on_line(Stream::Stderr, line));
        }
        if let Some(writer) = request.stdout {
            let stored = writer.write_all(&std::mem::take(&mut output.stdout));
            stored.map_err(|source| RemoteError::Output { at, label, source })?;
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::files::{RemoteFile, put_file};

    #[test]
    fn the_latest_matching_rule_answers_and_the_request_is_recorded() {
        let remote = FakeRemote::new("cp1").answer("uname", 0, "Linux\n", "").answer("uname", 0, "Hurd\n", "");
        let output = remote.run(Request::new("kernel", "uname -s").bytes("x")).unwrap();
        assert_eq!(output.stdout_text(), "Hurd\n");
        assert_eq!((remote.labels(), remote.requests()[0].stdin.clone()), (vec!["kernel".to_owned()], b"x".to_vec()));
    }

    #[test]
    fn a_request_without_a_rule_fails_loudly() {
        let error = FakeRemote::new("cp1").run_checked(Request::new("reboot", "reboot")).unwrap_err();
        assert!(error.to_string().contains("no answer for `reboot`"), "{error}");
    }

    #[test]
    fn the_chosen_call_fails_in_the_chosen_way() {
        let remote =
            FakeRemote::new("cp1").answer("x", 0, "", "").fail_call(2, Fault::Hang).fail_call(3, Fault::AnswerLost);
        let call = || remote.run(Request::new("x", "x"));
        assert!(call().is_ok());
        assert!(matches!(call(), Err(RemoteError::Timeout { .. })));
        assert!(matches!(call(), Err(RemoteError::ConnectionLost { .. })));
        assert!(call().is_ok());
    }

    #[test]
    fn files_that_are_put_can_be_looked_at() {
        let remote = FakeRemote::new("cp1");
        let file = RemoteFile { path: "/k".into(), contents: b"key".to_vec(), mode: 0o400, owner: "root:root".into() };
        assert!(put_file(&remote, file.clone()).unwrap());
        assert!(!put_file(&remote, file).unwrap());
        assert_eq!(remote.files()["/k"].contents, b"key");
    }
}
