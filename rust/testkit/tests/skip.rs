//! Check that a skipped test is reported, although it passes.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, process::Command};

use machinist_testkit::skip::skip;

/// Helper of the next test, run in a separate process so that its harness' output can be read.
#[test]
#[ignore = "the child process of another test"]
fn a_test_that_cannot_run_here() {
    skip("needs a thing that is not here");
}

#[test]
fn a_skipped_test_is_printed_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let skips = directory.path().join("skips");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_test_that_cannot_run_here", "--ignored"])
        .env("TEST_SKIPS", &skips)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let line = "a_test_that_cannot_run_here: needs a thing that is not here\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("skip  {line}"));
    assert_eq!(fs::read_to_string(skips).unwrap(), line);
}
