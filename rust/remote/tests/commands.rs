//! Commands over one connection to a real sshd.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{Remote as _, RemoteError, Request, Session, Status, Stream};
use std::io::{self, Read, Write as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::{Sshd, assert_quick, kill};

#[test]
fn output_and_exit_status_come_back() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let output = session.run(Request::new("both streams", "echo out; echo err >&2; exit 3")).unwrap();
    assert_eq!(
        (output.status.clone(), output.stdout_text(), output.stderr_text()),
        (Status::Exited(3), "out\n".into(), "err\n".into())
    );
    let output = session.run(Request::new("signal", "kill -TERM $$")).unwrap();
    assert_eq!(output.status, Status::Signaled("TERM".into()));
    assert_eq!(session.node(), "cp1");
}

#[test]
fn a_failed_command_is_an_error_with_its_last_lines() {
    let sshd = Sshd::start();
    let error = sshd.connect().run_checked(Request::new("import closure", "echo 'disk full' >&2; exit 7")).unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("cp1: `import closure` exited with status 7 on "), "{message}");
    assert!(message.ends_with("\n  disk full"), "{message}");
}

#[test]
fn lines_arrive_while_the_command_runs() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let (started, mut first, mut lines) = (Instant::now(), None, Vec::new());
    let script = "echo one; sleep 1; echo two; printf last >&2";
    let on_line = |stream, line: &str| {
        first.get_or_insert_with(|| started.elapsed());
        lines.push((stream, line.to_owned()));
    };
    let output = session.run(Request::new("lines", script).on_line(on_line)).unwrap();
    assert!(first.unwrap() < Duration::from_millis(900), "the first line came after {first:?}");
    assert_eq!(
        lines,
        [(Stream::Stdout, "one".into()), (Stream::Stdout, "two".into()), (Stream::Stderr, "last".into())]
    );
    assert_eq!(output.stdout_text(), "one\ntwo\n");
}

/// Returns twenty megabytes in which a wrong order or a gap is noticeable.
fn megabytes() -> Vec<u8> {
    (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[track_caller]
fn check_both_ways(session: &Session, script: &str) {
    let sent = megabytes();
    let mut request = Request::new("both ways", script).bytes(sent.clone());
    request.output_limit = 64 << 20;
    let output = session.run(request).unwrap();
    assert!(output.is_success());
    assert!(output.stdout == sent, "{} bytes came back, not the {} that were sent", output.stdout.len(), sent.len());
}

#[test]
fn twenty_megabytes_go_both_ways_at_once() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    check_both_ways(&session, "cat");
    // Nothing is read before everything is written: the host's buffers fill up.
    check_both_ways(&session, "f=$(mktemp); cat >$f; cat $f; rm $f");
}

#[test]
fn a_key_exchange_in_the_middle_of_a_transfer_does_no_harm() {
    let sshd = Sshd::start_with("RekeyLimit 3M");
    check_both_ways(&sshd.connect(), "cat");
}

#[test]
fn twenty_megabytes_on_both_streams_do_not_block_each_other() {
    let sshd = Sshd::start();
    let script = "head -c 20000000 /dev/zero >&2 & head -c 20000000 /dev/zero; wait";
    let mut request = Request::new("both streams", script);
    request.output_limit = 32 << 20;
    let output = sshd.connect().run(request).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (20_000_000, 20_000_000));
}

#[test]
fn a_command_may_end_before_it_has_read_its_input() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let started = Instant::now();
    let output = session.run(Request::new("short reader", "head -c 3").reader(io::repeat(b'x'))).unwrap();
    assert_eq!(output.stdout_text(), "xxx");
    assert_quick(started, Duration::from_secs(5));
    session.run_checked(Request::new("after", "true")).unwrap();
}

#[test]
fn a_command_that_takes_too_long_is_stopped_on_both_sides() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    // A duration that no other process sleeps for.
    let script = "sleep 61.725; true";
    let is_there = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
            .any(|cmdline| cmdline == b"sleep\x0061.725\0")
    };
    let started = Instant::now();
    let error = session.run(Request::new("sleep", script).timeout(Duration::from_millis(700))).unwrap_err();
    assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
    assert_eq!(error.to_string(), format!("cp1: `sleep` took longer than 0.7 s on {}", session.endpoint()));
    assert_quick(started, Duration::from_secs(2));
    // The connection still works, and the process is ended by the host's own timeout.
    session.run_checked(Request::new("after", "true")).unwrap();
    assert!(is_there(), "the process was never there");
    while is_there() {
        assert_quick(started, Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn endless_output_is_stopped_by_the_limit_and_by_the_clock() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let error = session.run(Request::new("yes", "yes")).unwrap_err();
    assert!(matches!(error, RemoteError::OutputTooLong { .. }), "{error}");
    let request = Request::new("yes", "yes").timeout(Duration::from_secs(1)).on_line(|_, _| ());
    let error = session.run(request).unwrap_err();
    assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
    session.run_checked(Request::new("after", "true")).unwrap();
}

#[test]
fn a_download_of_any_length_goes_to_a_writer() {
    let sshd = Sshd::start();
    let mut counter = Counter(0);
    let request = Request::new("snapshot", "head -c 30000000 /dev/zero").stdout_to(&mut counter);
    assert!(sshd.connect().run(request).unwrap().stdout.is_empty());
    assert_eq!(counter.0, 30_000_000);
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0 += buffer.len();
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_input_that_cannot_be_read_fails_the_request_with_its_cause() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let sshd = Sshd::start();
    let error = sshd.connect().run(Request::new("send", "cat").reader(Broken)).unwrap_err();
    let RemoteError::Input { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "the disk is gone");
}

#[test]
fn a_connection_that_breaks_mid_command_is_noticed_at_once() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let pids = sshd.sessions();
    assert!(!pids.is_empty());
    let mut begun = None;
    let kill_at_its_line = |_, _: &str| {
        begun = Some(Instant::now());
        pids.iter().copied().for_each(kill);
    };
    let error = session.run(Request::new("long work", "echo begun; sleep 60").on_line(kill_at_its_line)).unwrap_err();
    assert_quick(begun.expect("the command has begun"), Duration::from_secs(3));
    let message = error.to_string();
    assert!(
        message.starts_with("cp1: connection to ") && message.contains(" lost during `long work` after "),
        "{message}"
    );
    assert!(error.is_connection_failure() && session.lost().is_some());
    let again = session.run(Request::new("next", "true")).unwrap_err();
    assert!(matches!(again, RemoteError::ConnectionLost { .. }), "{again}");
}

#[test]
fn the_end_of_an_idle_connection_is_noticed() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    session.run_checked(Request::new("first", "true")).unwrap();
    sshd.sessions().into_iter().for_each(kill);
    let started = Instant::now();
    while session.lost().is_none() {
        assert_quick(started, Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_host_that_falls_silent_is_given_up() {
    let sshd = Sshd::start();
    let mut destination = sshd.destination();
    destination.keepalive = Duration::from_secs(2);
    let session = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    let frozen = sshd.sessions();
    signal(&frozen, rustix::process::Signal::STOP);
    let started = Instant::now();
    let error = session.run(Request::new("work", "true")).unwrap_err();
    signal(&frozen, rustix::process::Signal::CONT);
    let heard = error
        .to_string()
        .rsplit_once("no data received for ")
        .and_then(|(_, rest)| rest.strip_suffix(" s")?.parse().ok());
    assert!(heard.is_some_and(|seconds: u64| seconds >= 8), "{error}");
    assert_quick(started, Duration::from_secs(12));
}

fn signal(pids: &[u32], signal: rustix::process::Signal) {
    for &pid in pids {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

#[test]
fn keepalives_keep_an_idle_connection_that_the_host_would_drop() {
    // sshd then drops a client from which it has received nothing for 7 seconds (measured).
    let sshd = Sshd::start_with("ClientAliveInterval 2\nClientAliveCountMax 1");
    let mut destination = sshd.destination();
    destination.keepalive = Duration::from_secs(2);
    let session = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    session.run_checked(Request::new("after a while", "true")).unwrap();
}

#[test]
fn many_commands_at_once_share_the_one_connection() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    // More than sshd's MaxSessions of 10, each with data both ways.
    let results: Vec<String> = std::thread::scope(|scope| {
        let start = |n: usize| {
            let session = &session;
            scope.spawn(move || {
                let input = vec![b'a' + (n % 26) as u8; 1_000_000 + n];
                let output = session
                    .run(
                        Request::new(format!("job {n}"), "printf '%s\n' \"$SSH_CONNECTION\"; cat").bytes(input.clone()),
                    )
                    .unwrap();
                let (connection, rest) =
                    output.stdout.split_at(output.stdout.iter().position(|&byte| byte == b'\n').unwrap() + 1);
                assert!(rest == input, "job {n} got another's bytes");
                String::from_utf8(connection.to_vec()).unwrap()
            })
        };
        let threads: Vec<_> = (0..16).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(results.iter().all(|connection| connection == &results[0]), "{results:?}");
    assert_eq!(sshd.sessions().len(), 1);
}

#[test]
fn a_slow_consumer_holds_up_only_its_own_command() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let (stand_still, stands_still) = mpsc::channel();
    let (let_go, goes_on) = mpsc::channel();
    std::thread::scope(|scope| {
        let session = &session;
        scope.spawn(move || {
            let mut lines = 0;
            // Consumes nothing more until the other command has ended.
            let slow = move |_, _: &str| {
                lines += 1;
                if lines == 1 {
                    stand_still.send(()).unwrap();
                    goes_on.recv_timeout(Duration::from_secs(60)).expect("the other command ends meanwhile");
                }
            };
            let script = "head -c 20000000 /dev/zero | tr '\\0' '\\n'";
            session.run_checked(Request::new("slow", script).on_line(slow)).unwrap();
        });
        stands_still.recv_timeout(Duration::from_secs(60)).unwrap();
        session.run_checked(Request::new("quick", "echo hello")).unwrap();
        let_go.send(()).unwrap();
    });
}

#[test]
fn secrets_never_show_in_the_process_table() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let secret = "hunter2-in-no-argument-list";
    let script = format!("secret={secret}; read line; sleep 1; echo \"$line\"");
    let output = std::thread::scope(|scope| {
        let run =
            scope.spawn(|| session.run_checked(Request::new("secret", script).bytes(format!("{secret}\n"))).unwrap());
        let mut n_seen = 0;
        while !run.is_finished() {
            for process in std::fs::read_dir("/proc").unwrap().flatten() {
                for file in ["cmdline", "environ"] {
                    let text = std::fs::read(process.path().join(file)).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    assert!(!text.contains(secret), "{}: {text}", process.path().display());
                    n_seen += usize::from(text.contains("head -c") && text.contains("timeout"));
                }
            }
        }
        assert!(n_seen > 0, "the command was never seen running");
        run.join().unwrap()
    });
    assert_eq!(output.stdout_text(), format!("{secret}\n"));
    assert!(!sshd.log().contains(secret));
}

#[test]
fn a_script_with_a_nul_byte_is_refused_before_it_is_sent() {
    let sshd = Sshd::start();
    let error = sshd.connect().run(Request::new("nul", "echo \0")).unwrap_err();
    assert!(matches!(error, RemoteError::InvalidRequest { .. }), "{error}");
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        io::copy(&mut &stream, &mut &stream).unwrap()
    });
    let mut tunnel = session.tunnel("127.0.0.1", port).unwrap();
    let sent = megabytes();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| {
        let (writer, sent) = (&mut tunnel.writer, &sent);
        scope.spawn(move || writer.write_all(sent).unwrap());
        tunnel.reader.read_exact(&mut received).unwrap();
    });
    assert!(received == sent);
    drop(tunnel);
    assert_eq!(echo.join().unwrap(), 20_000_000);
    let socket = session.tunnel("127.0.0.1", support::closed_port()).unwrap().into_socket().unwrap();
    assert_eq!((&socket).read(&mut [0]).unwrap(), 0, "a refusal is an end");
    let mut refused = session.tunnel("127.0.0.1", support::closed_port()).unwrap();
    let error = refused.reader.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

#[test]
fn a_socket_stands_in_for_a_tunnel_and_both_ends_see_the_other_one_go() {
    let sshd = Sshd::start();
    let session = sshd.connect();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = || {
        let socket = session.tunnel("127.0.0.1", port).unwrap().into_socket().unwrap();
        (&socket).write_all(b"question").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 8];
        stream.read_exact(&mut question).unwrap();
        assert_eq!(&question, b"question");
        stream.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        (&socket).read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        (socket, stream)
    };
    // More than a connection has channels for: each must be released.
    for _ in 0..12 {
        let (socket, mut stream) = open();
        drop(socket);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the far side sees that the caller is gone");
    }
    let (socket, stream) = open();
    drop(stream);
    assert_eq!((&socket).read(&mut [0]).unwrap(), 0, "the caller sees that the far side is gone");
}

#[test]
fn a_host_with_maxsessions_1_runs_one_command_after_the_other_and_several_at_once() {
    let sshd = Sshd::start_with("MaxSessions 1");
    let session = sshd.connect();
    for n in 0..10 {
        session.run_checked(Request::new(format!("job {n}"), "true")).unwrap();
    }
    assert_eq!(sshd.sessions().len(), 1, "one after the other needs one connection");
    for round in 0..3 {
        std::thread::scope(|scope| {
            // It ends only when another command has run: commands that wait for each other must not queue up.
            let path = sshd.path(&format!("flag-{round}"));
            let waiting = format!("until [ -e {0} ]; do sleep 0.02; done; cat", path.display());
            let waiter = scope.spawn(|| session.run_checked(Request::new("waits", waiting).bytes("input")).unwrap());
            std::thread::sleep(Duration::from_millis(100));
            session.run_checked(Request::new("flag", format!("touch {}", path.display()))).unwrap();
            assert_eq!(waiter.join().unwrap().stdout_text(), "input");
        });
        assert_eq!(sshd.sessions().len(), 2, "the second connection is kept and used again");
    }
    drop(session);
    let started = Instant::now();
    while !sshd.sessions().is_empty() {
        assert_quick(started, Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_command_that_was_given_up_does_not_block_a_host_with_maxsessions_1() {
    let sshd = Sshd::start_with("MaxSessions 1");
    let session = sshd.connect();
    let stubborn = Request::new("stubborn", "trap '' TERM HUP; sleep 12").timeout(Duration::from_millis(300));
    let error = session.run(stubborn).unwrap_err();
    assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
    let started = Instant::now();
    session.run_checked(Request::new("next", "true")).unwrap();
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

#[test]
fn a_host_that_allows_no_session_is_reported_with_the_setting() {
    let sshd = Sshd::start_with("MaxSessions 0");
    let error = sshd.connect().run(Request::new("true", "true")).unwrap_err();
    assert!(matches!(error, RemoteError::Channel { .. }), "{error}");
    assert!(error.hint().unwrap().contains("MaxSessions"), "{:?}", error.hint());
}

/// Returns a host whose shell prints on both streams before each command, and from the background while it runs.
fn noisy() -> Sshd {
    let sshd = Sshd::start();
    let noise = "printf '\\033]0;a title\\007'\necho waiting\necho boot=b1\necho 'sudo: a warning' >&2\n";
    std::fs::write(sshd.path(".bashrc"), format!("{noise}export BASH_ENV=~/.bashrc LC_ALL=de_DE.UTF-8\numask 077\n"))
        .unwrap();
    sshd
}

#[test]
fn what_a_host_s_shell_prints_is_no_part_of_an_answer() {
    let sshd = noisy();
    let session = sshd.connect();
    let mut lines = Vec::new();
    let script = "echo out; umask; bash -c 'echo inner'; echo err >&2; exit 3";
    let request = Request::new("noise", script).on_line(|_, line: &str| lines.push(line.to_owned()));
    let output = session.run(request).unwrap();
    assert_eq!(
        (output.status.clone(), output.stdout_text(), output.stderr_text()),
        (Status::Exited(3), "out\n0022\ninner\n".into(), "err\n".into())
    );
    lines.sort();
    assert_eq!(lines, ["0022", "err", "inner", "out"]);
    let mut download = Vec::new();
    session.run_checked(Request::new("download", "printf '\\036\\0x'").stdout_to(&mut download)).unwrap();
    assert_eq!(download, b"\x1e\0x");
}

#[test]
fn a_shell_that_runs_no_script_is_no_empty_answer() {
    let sshd = Sshd::start_with("ForceCommand echo This account is not available.");
    let session = sshd.connect();
    let error = session.run(Request::new("look", "echo out")).unwrap_err();
    assert!(matches!(error, RemoteError::NotStarted { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("`look` was not started"), "{message}");
    assert!(message.ends_with("exited with status 0\n  This account is not available."), "{message}");
    assert!(error.hint().is_some_and(|hint| hint.contains("startup files")));
}

#[test]
fn a_shell_that_prints_without_end_is_given_up() {
    let sshd = Sshd::start_with("ForceCommand yes");
    let error = sshd.connect().run(Request::new("look", "true")).unwrap_err();
    assert!(matches!(error, RemoteError::Noise { .. }), "{error}");
}
