//! What the program prints, and what becomes of it where it cannot be written.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn machinist() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_machinist"));
    command.env_remove("GIT_DIR").env("NO_COLOR", "1");
    command
}

/// A directory with a cluster that needs no flake.
fn cluster(machines: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("machines.nix"), machines).unwrap();
    directory
}

const KUBERNETES: &str = r#"{
  cluster = {
    name = "magi";
    orchestrator = "kubernetes";
    operators = [ { name = "ops"; age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu"; } ];
  };
  network.nodes = "10.13.13.0/24";
  machines.a = { ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; };
  kubeMaster = { name = "k8s.example.org"; ip = "10.13.13.100"; };
}"#;

/// A device that is always full, in a directory of its own: nothing of /dev is opened for writing. Only root can make it.
fn full_device(directory: &Path) -> Option<PathBuf> {
    let full = directory.join("full");
    let made = Command::new("mknod").arg(&full).args(["c", "1", "7"]).output().unwrap().status.success();
    let usable = made && OpenOptions::new().write(true).open(&full).is_ok();
    if !usable {
        eprintln!("skipped: no device can be made here");
    }
    usable.then_some(full)
}

#[test]
fn output_that_cannot_be_written_fails_the_command_with_the_reason() {
    let directory = cluster(KUBERNETES);
    let Some(full) = full_device(directory.path()) else { return };
    let at = directory.path().to_str().unwrap();
    for arguments in
        [&["explain"] as &[&str], &["explain", "--json"], &["-C", at, "check"], &["-C", at, "objects", "show"]]
    {
        let works = machinist().args(arguments).output().unwrap();
        assert_eq!(works.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&works.stderr));
        let stdout = OpenOptions::new().write(true).open(&full).unwrap();
        let output = machinist().args(arguments).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("the result was cut off") && said.contains("No space left"), "{arguments:?}: {said}");
    }
    assert!(fs::metadata(&full).unwrap().file_type().is_char_device());
}

#[test]
fn a_reader_that_goes_away_leaves_a_success() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = machinist().arg("explain").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"");
}

#[test]
fn what_machines_nix_holds_cannot_write_to_the_terminal() {
    let escape = r#"builtins.fromJSON "\"\\u001b]52;c;eA==\\u0007\\u009b2J\\u202ex\"""#;
    let directory = cluster(&format!("{{ cluster.name = throw ({escape}); }}"));
    for json in [&["--json"] as &[&str], &[]] {
        let output = machinist().arg("-C").arg(directory.path()).arg("check").args(json).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("52;c;eA=="), "{said}");
        assert!(!said.contains(machinist_text::is_active), "{said:?}");
    }
}

#[test]
fn a_value_that_is_nested_without_reason_is_shown_in_machines_nix() {
    let deep = "builtins.foldl' (a: _: [ a ]) 1 (builtins.genList (x: x) 200)";
    let directory = cluster(&format!("{{\n  machines.a.labels = {deep};\n}}\n"));
    let output = machinist().arg("-C").arg(directory.path()).arg("check").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("machines.nix:2:14: machines.a.labels"), "{said}");
}
