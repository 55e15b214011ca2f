#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

struct Sample {
    directory: tempfile::TempDir,
    config: Arc<SshConfig>,
}

/// A configuration file read by the real `ssh`.
fn sample(text: &str) -> Sample {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, text).unwrap();
    Sample { config: SshConfig::of_file(&file), directory }
}

fn query(host: &str) -> Query {
    Query { host: host.to_owned(), port: None, user: None }
}

fn look_up(sample: &Sample, query: &Query) -> Arc<Answer> {
    sample.config.look_up(query).unwrap().unwrap()
}

#[test]
fn a_host_is_resolved_once_a_run() {
    let sample = sample("");
    let runs = sample.directory.path().join("runs");
    let program = sample.directory.path().join("ssh");
    std::fs::write(&program, format!("#!/bin/sh\necho run >>{}\nexec ssh \"$@\"\n", runs.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = SshConfig::with_program(&sample.directory.path().join("config"), &program);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(config.look_up(&query("a")).unwrap().unwrap().context.host, "a"));
        }
    });
    config.look_up(&query("b")).unwrap().unwrap();
    config.look_up(&Query { port: Some(2200), ..query("b") }).unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(runs).unwrap().lines().count(), 3);
}

#[test]
fn values_that_openssh_takes_are_no_errors() {
    let text = "\
AddKeysToAgent ask
ConnectTimeout 1m
ForwardAgent $SSH_AUTH_SOCK
PubkeyAuthentication host-bound
IdentityFile '~/my keys/id'
Include /nothing/here/*
";
    let answer = look_up(&sample(text), &query("a"));
    assert_eq!(answer.number("connecttimeout").unwrap(), Some(60));
    assert_eq!(answer.values("identityfile").collect::<Vec<_>>(), ["~/my keys/id"]);
}

#[test]
fn a_match_for_another_host_does_not_count() {
    let text = "\
Host node
  User admin
Match host other
  ProxyCommand run-for-other
  Port 2222
Match user deploy
  Port 2200
";
    let sample = sample(text);
    let answer = look_up(&sample, &query("node"));
    assert_eq!(
        (answer.value("proxycommand"), answer.value("port"), answer.value("user")),
        (None, Some("22"), Some("admin"))
    );
    assert_eq!(look_up(&sample, &query("other")).value("proxycommand"), Some("run-for-other"));
    // Settings of machines.nix are visible to Match, and take precedence over the file.
    let deploy = Query { user: Some("deploy".into()), ..query("node") };
    assert_eq!(look_up(&sample, &deploy).value("port"), Some("2200"));
    let both = Query { port: Some(7), ..deploy };
    let answer = look_up(&sample, &both);
    assert_eq!((answer.value("port"), answer.value("user")), (Some("7"), Some("deploy")));
}

#[test]
fn match_exec_runs_and_may_not_run_for_ever() {
    let sample_of = |command: &str| sample(&format!("Match host node exec \"{command}\"\n  User chosen\n"));
    assert_eq!(look_up(&sample_of("true"), &query("node")).value("user"), Some("chosen"));
    assert_ne!(look_up(&sample_of("false"), &query("node")).value("user"), Some("chosen"));

    let sample = sample_of("sleep 4242");
    let started = Instant::now();
    let command = &mut sample.config.command(&query("node"));
    assert!(program::run(command, Duration::from_millis(300)).unwrap().is_none());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let error = SshConfigError::Timeout { host: "node".into(), limit: LIMIT };
    assert!(error.hint().unwrap().contains("Match exec"));
    // The command that it started has ended with it.
    let is_sleeping = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.into_iter().any(|line| line == b"sleep\x004242\x00")
    };
    while is_sleeping() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_that_leaves_a_process_behind_does_not_hold_up_the_answer() {
    let started = Instant::now();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 45 & echo done"]);
    let finished = program::run(&mut command, Duration::from_secs(60)).unwrap().unwrap();
    assert_eq!(finished.stdout, b"done\n");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn what_openssh_refuses_is_reported_in_its_words() {
    let error = sample("Host *\n Port many\n").config.look_up(&query("node")).unwrap_err();
    assert!(error.to_string().starts_with("`ssh -G node` failed: "), "{error}");
    assert!(error.to_string().contains("line 2: Bad port 'many'"), "{error}");
    assert_eq!(error.hint().unwrap(), "correct the SSH configuration; to reproduce: ssh -G node");
}

#[test]
fn a_configuration_without_openssh_is_an_error_and_none_of_both_is_not() {
    let sample = sample("User admin\n");
    let (file, program) = (sample.directory.path().join("config"), sample.directory.path().join("no-ssh"));
    let error = SshConfig::with_program(&file, &program).look_up(&query("node")).unwrap_err();
    assert!(matches!(&error, SshConfigError::NoProgram { path } if *path == file), "{error}");
    let nothing = SshConfig { program, ..SshConfig::default() };
    let is_configured = nothing.existing_file().is_some();
    assert_eq!(nothing.look_up(&query("node")).is_err(), is_configured);
}
