//! Reporting of tests that cannot run on this machine, counted by `./test`.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    thread,
};

/// Returns true if this process is root. Otherwise the running test is reported as skipped.
#[must_use]
pub fn is_root_or_skipped() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("needs root");
    }
    is_root
}

/// Reports that the running test was skipped, with the reason: on stderr, and in the file that `TEST_SKIPS` names.
///
/// The test harness captures the `eprintln!` output of a passing test, so the line is written directly to stderr.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    let _lost = io::stderr().write_all(format!("skip  {line}").as_bytes());
    if let Some(path) = std::env::var_os("TEST_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _lost = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
