//! The standard streams. Output that cannot be written is noted and reported at the end: a long run goes on, and its exit
//! code says that the result is not whole.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

/// Why standard output no longer takes anything: the first error, its kind and its words.
static BROKEN: Mutex<Option<(io::ErrorKind, String)>> = Mutex::new(None);

/// Writes to standard output and flushes it.
pub fn write(bytes: &[u8]) {
    let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if broken.is_some() {
        // Half a result with its end is worse than half a result.
        return;
    }
    let mut stdout = io::stdout().lock();
    let error = stdout.write_all(bytes).and_then(|()| stdout.flush()).err();
    *broken = error.map(|error| (error.kind(), error.to_string()));
}

/// Returns whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns whether the reader went away or the output cannot be written.
pub fn is_broken() -> bool {
    BROKEN.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Returns why standard output is not whole. A reader that went away, such as `head`, has what it wanted.
pub fn unwritten() -> Option<String> {
    let (kind, words) = BROKEN.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    (kind != io::ErrorKind::BrokenPipe).then_some(words)
}

/// Writes a line to standard error. There is no place left to report that this fails.
pub fn write_story(line: &str) {
    let mut stderr = io::stderr().lock();
    let _unread = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
}
