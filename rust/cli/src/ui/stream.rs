//! Standard streams. A failed write is recorded and reported at the end: a long run continues, and its exit code
//! indicates that the result is incomplete.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

/// First error of a write to standard output, as its kind and text.
static BROKEN: Mutex<Option<(io::ErrorKind, String)>> = Mutex::new(None);

/// Writes to standard output and flushes it.
pub fn write(bytes: &[u8]) {
    let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if broken.is_some() {
        // A result with a gap is worse than a truncated result.
        return;
    }
    let mut stdout = io::stdout().lock();
    let error = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
    *broken = error.map(|error| (error.kind(), error.to_string()));
}

/// Returns true if standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns true if the reader closed its end or the output cannot be written.
pub fn is_broken() -> bool {
    BROKEN.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Returns the reason why standard output is incomplete. A reader that closed its end, such as `head`, has read enough.
pub fn unwritten() -> Option<String> {
    let (kind, words) = BROKEN.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    (kind != io::ErrorKind::BrokenPipe).then_some(words)
}

/// Writes a line to standard error. A failure of this write cannot be reported anywhere.
pub fn write_story(line: &str) {
    let mut stderr = io::stderr().lock();
    let _unread = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
}
