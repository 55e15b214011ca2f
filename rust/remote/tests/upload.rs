//! Large upload; alone in its process, so that the process's memory is this test's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{Remote as _, Request};
use std::io::Read as _;
use std::time::{Duration, Instant};
use support::Sshd;

/// Returns the most memory that this process has used so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Time that the receiver of the download sleeps before it consumes anything.
const PAUSE: Duration = Duration::from_secs(1);

/// Sleeps once: data sent meanwhile must wait on the host.
struct SlowStart(bool);

impl std::io::Write for SlowStart {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        if !std::mem::replace(&mut self.0, true) {
            std::thread::sleep(PAUSE);
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_of_any_length_needs_little_memory_and_is_fast() {
    const LENGTH: u64 = 100_000_000;
    let sshd = Sshd::start();
    let session = sshd.connect();
    let before = peak();
    let started = Instant::now();
    let request =
        Request::new("upload", "wc -c").reader(std::io::repeat(0x5a).take(LENGTH)).timeout(Duration::from_secs(120));
    let output = session.run_checked(request).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(output.stdout_text().trim(), LENGTH.to_string());
    let started_down = Instant::now();
    session
        .run_checked(Request::new("download", format!("head -c {LENGTH} /dev/zero")).stdout_to(&mut SlowStart(false)))
        .unwrap();
    let seconds_down = (started_down.elapsed() - PAUSE).as_secs_f64();
    let grown = peak() - before;
    let speed = |seconds: f64| LENGTH as f64 / 1e6 / seconds;
    eprintln!("up {:.0} MB/s, down {:.0} MB/s, {grown} KiB more memory", speed(seconds), speed(seconds_down));
    assert!(grown < 24 << 10, "an upload of 100 MB took {grown} KiB");
    // A tenth of the rate on a slow machine; buffers that are too small would show.
    assert!(speed(seconds) > 10.0, "only {:.1} MB/s", speed(seconds));
}
