//! What is in the memory of the program while it is done with a private key, and when it ends by a signal.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs::{self, File},
    io::{PipeWriter, Write as _},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use machinist_secrets::{Identities, decrypt, generate_identity, no_prompt, write_private};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster with certificates, and the operator's identity beside it.
fn cluster() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let identity = generate_identity();
    write_private(&directory.path().join("identity.txt"), identity.secret().as_bytes()).unwrap();
    let machines = format!(
        r#"{{
          cluster = {{
            name = "magi";
            orchestrator = "kubernetes";
            operators = [ {{ name = "ops"; age = "{}"; }} ];
          }};
          network.nodes = "10.13.13.0/24";
          machines.a = {{ ip = "10.13.13.2"; roles = [ "etcd" "control-plane" "worker" ]; }};
          kubeMaster = {{ name = "k8s.example.org"; ip = "10.13.13.100"; }};
        }}"#,
        identity.recipient()
    );
    fs::write(directory.path().join("machines.nix"), machines).unwrap();
    let output = machinist(directory.path()).args(["certs", "gen"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

fn machinist(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_machinist"));
    command.arg("-C").arg(directory).env("MACHINIST_IDENTITY", directory.join("identity.txt"));
    command
}

/// Returns the PEM text of the authority's private key, without its first and last line.
fn key_of_the_authority(directory: &Path) -> String {
    let file = directory.join("certs/authorities/kubernetes.key.age");
    let identities = Identities::load(&[directory.join("identity.txt")], &no_prompt()).unwrap();
    let pem = decrypt(&identities, &file, &fs::read(&file).unwrap(), &[]).unwrap();
    let text = String::from_utf8(pem.to_vec()).unwrap();
    text.lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().join("\n")
}

/// A pipe that takes nothing more: who writes to it waits.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b' '; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Waits until the process waits for its standard output: `write` is 1 on x86-64 and 64 on aarch64.
fn wait_until_writing(child: &Child) {
    let begun = Instant::now();
    let is_writing = || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        call.starts_with("1 0x1 ") || call.starts_with("64 0x1 ")
    };
    while !is_writing() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to its output");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Counts a text in everything that the process can write to.
fn count(process: u32, needles: &[&[u8]]) -> Vec<usize> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut counts = vec![0; needles.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let [start, end] = [start, end].map(|address| u64::from_str_radix(address, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // Some mappings, such as the kernel's own, cannot be read.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            for (needle, count) in needles.iter().zip(&mut counts) {
                *count += bytes.windows(needle.len()).filter(|window| window == needle).count();
            }
        }
    }
    counts
}

#[test]
fn no_copy_of_an_authoritys_private_key_is_left_in_memory_after_its_use() {
    let directory = cluster();
    let body = key_of_the_authority(directory.path());
    let der = STANDARD.decode(body.replace('\n', "")).unwrap();
    let (reader, writer) = full_pipe();
    let mut command = machinist(directory.path());
    let mut child = command.args(["kubeconfig", "--output", "-"]).stdout(writer).spawn().unwrap();
    wait_until_writing(&child);
    // PKCS#8 of P-256: the key itself is the 32 bytes from the 36th on; before it is the same in every key.
    let second_line = body.lines().nth(1).unwrap();
    let found = count(child.id(), &[second_line.as_bytes(), &der[36..68], b"client-key-data"]);
    drop(reader);
    child.wait().unwrap();
    assert!(found[2] > 0, "the kubeconfig, which is being written, is not found either");
    assert_eq!(found[..2], [0, 0], "PEM and binary");
}

/// Returns a shell without a limit of core dumps, and whose SIGQUIT is not ignored, as it is in a job that a shell started
/// in the background.
fn dumping(command: &str) -> Command {
    let mut shell = Command::new("env");
    shell.args(["--default-signal=QUIT", "sh", "-c", &format!("ulimit -c unlimited; {command}")]);
    shell
}

#[test]
fn a_process_that_holds_keys_leaves_no_core_dump() {
    let directory = cluster();
    let (_reader, writer) = full_pipe();
    let mut command = dumping("exec \"$0\" \"$@\"");
    command.args([env!("CARGO_BIN_EXE_machinist"), "-C"]);
    command.arg(directory.path()).args(["kubeconfig", "--output", "-"]);
    command.env("MACHINIST_IDENTITY", directory.path().join("identity.txt"));
    let mut child = command.current_dir(directory.path()).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    wait_until_writing(&child);
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Its action is a core dump, and no runtime handles it.
    let signal = |process: u32| Command::new("kill").args(["-QUIT", &process.to_string()]).status().unwrap();
    signal(child.id());
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(3), false));

    // The same with a program that does nothing against it, where the system dumps at all.
    let mut sleep = dumping("exec sleep 60").current_dir(directory.path()).spawn().unwrap();
    let begun = Instant::now();
    while fs::read(format!("/proc/{}/cmdline", sleep.id())).unwrap() != b"sleep\x0060\0" {
        assert!(begun.elapsed() < PATIENCE, "the shell does not become the other program");
        thread::sleep(Duration::from_millis(10));
    }
    signal(sleep.id());
    if !sleep.wait().unwrap().core_dumped() {
        eprintln!("note: this system dumps no core of any program");
    }
}
