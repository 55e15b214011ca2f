//! Real sshd on 127.0.0.1 with its own keys, stopped when dropped.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::panic)]

use machinist_remote::{Destination, Fingerprint, HostKey, KnownHosts, Session};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const SSHD: &str = "/usr/sbin/sshd";

pub struct Sshd {
    pub directory: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Sshd {
    /// Starts sshd with an Ed25519 host key and one authorized key.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same, with more lines of sshd_config.
    pub fn start_with(config: &str) -> Self {
        let mut sshd = Self::prepare(config);
        for _ in 0..5 {
            sshd.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if sshd.listen(&mut Command::new(SSHD)) {
                return sshd;
            }
        }
        panic!("sshd does not start: {}", sshd.log());
    }

    /// Creates keys and configuration, but starts nothing.
    pub fn prepare(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Debian's sshd confines itself to this directory before login; it is created by its unit, which tests may not
        // have started.
        let _ = std::fs::create_dir_all("/run/sshd");
        let path = |name: &str| directory.path().join(name);
        keygen(&path("host_key"), "ed25519", "");
        keygen(&path("id"), "ed25519", "");
        std::fs::copy(path("id.pub"), path("authorized_keys")).unwrap();
        let text = format!(
            "ListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n\
             SetEnv HOME={}\n{config}\n",
            path("host_key").display(),
            path("authorized_keys").display(),
            // bash reads ~/.bashrc for sshd's commands: a developer's own file must not influence the test.
            directory.path().display()
        );
        std::fs::write(path("sshd_config"), text).unwrap();
        Self { directory, port: 0, child: None }
    }

    /// Runs `launcher`, which may wrap sshd, with sshd's arguments; returns true if it stays up.
    pub fn listen(&mut self, launcher: &mut Command) -> bool {
        let log = std::fs::File::create(self.path("log")).unwrap();
        launcher.args(["-D", "-e", "-p", &self.port.to_string(), "-f"]).arg(self.path("sshd_config"));
        self.child = Some(launcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        for _ in 0..250 {
            if self.log().contains("Server listening") {
                return true;
            }
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn host_key(&self) -> HostKey {
        HostKey::from_openssh(&std::fs::read_to_string(self.path("host_key.pub")).unwrap()).unwrap()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.host_key().fingerprint()
    }

    pub fn destination(&self) -> Destination {
        let mut destination = Destination::new("cp1", "127.0.0.1");
        destination.port = Some(self.port);
        destination.user = Some(user());
        destination.identity_files = vec![self.path("id")];
        destination
    }

    /// Returns the pins of a file that does not exist yet.
    pub fn known_hosts(&self) -> KnownHosts {
        KnownHosts::load(&self.path("state/known_hosts")).unwrap()
    }

    pub fn connect(&self) -> Session {
        Session::connect(&self.destination(), &self.known_hosts(), Some(self.fingerprint())).unwrap()
    }

    /// Returns the processes that serve one connection each.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.pid())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        for session in children(child.id()) {
            kill(session);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A real ssh-agent, stopped when dropped.
pub struct Agent {
    pub socket: PathBuf,
    child: Child,
}

impl Agent {
    pub fn start(socket: &Path) -> Self {
        let mut ssh_agent = Command::new("ssh-agent");
        let child = ssh_agent.arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        // The socket exists before the agent listens on it.
        while UnixStream::connect(socket).is_err() {
            assert_quick(started, Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { socket: socket.to_owned(), child }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Returns the children of a process, by the fourth field of `/proc/PID/stat`.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    numbers.filter(is_child).collect()
}

pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let mut ssh_keygen = Command::new("ssh-keygen");
    ssh_keygen.args(["-q", "-C", "test", "-t", kind, "-N", passphrase, "-f"]).arg(path);
    assert!(ssh_keygen.status().unwrap().success());
}

/// Returns the key's fingerprint as printed by `ssh-keygen -lf`.
pub fn keygen_fingerprint(path: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns a port of 127.0.0.1 without a listener. A concurrent test may get the same one, so it is tried.
pub fn closed_port() -> u16 {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let is_closed = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_err();
    (0..20).map(|_| free()).find(is_closed).unwrap()
}

/// Checks that a wait ended by itself, not by another time limit. A busy machine may take four times as long as a quiet
/// one.
#[track_caller]
pub fn assert_quick(started: Instant, limit: Duration) {
    assert!(started.elapsed() < limit * 4, "took {:?}, more than {limit:?}", started.elapsed());
}
