//! Inspection, maintenance and restore of etcd, one request a function. The requests and the meaning of their responses
//! are in [`machinist_etcd::data`] and [`machinist_etcd::upkeep`].

use std::{
    io::{self, Read, Write},
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::{
    data::{self, Changes, Entry, GET, WATCH},
    etcd::{MOVE_LEADER, client_url, hexadecimal},
    upkeep::{
        ASK_FOR_RESTORE, COMPACT, DEFRAGMENT, DISARM, Kept, LIST_SNAPSHOTS, READ_FILE, RECEIVE, RESTORE_STATE,
        REVISION_JUMP, START_RESTORED, TRY_WRITE, kept,
    },
};
use machinist_model::NodeName;
use machinist_remote::{DURABLE, Remote, Request, Status};

use crate::{
    lock::{Token, request_under, run_under},
    membership::Voice,
    script,
    step::{StepError, run},
};

/// Time limit of a request to etcd.
const ANSWER: Duration = Duration::from_secs(40);

/// Time limit of a defragmentation: etcd's own documentation measures some ten seconds a GiB.
const DEFRAGMENTATION: Duration = Duration::from_secs(330);

/// Time limit of a snapshot transfer.
const TRANSFER: Duration = Duration::from_secs(3600);

/// Duration of one watch before it is renewed, so that nothing stays on the member for long if the watching process
/// disappears without closing it.
const WATCHING: Duration = Duration::from_secs(600);

/// Exit status of coreutils' `timeout` at its time limit.
const ENDED_BY_TIMEOUT: Status = Status::Exited(124);

/// A key or a range of keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// A key, or the prefix of keys.
    pub key: &'a str,
    /// True if `key` is a prefix.
    pub prefix: bool,
}

impl Keys<'_> {
    const fn flag(&self) -> &'static str {
        if self.prefix { "yes" } else { "" }
    }
}

/// Reads keys, sorted, and with `values` their contents. Returns the revision too.
///
/// # Errors
/// The connection fails, or etcd does not respond.
pub fn get(voice: &Voice, keys: Keys<'_>, values: bool) -> Result<(u64, Vec<Entry>), StepError> {
    let variables = [
        ("endpoint", client_url(voice.ip)),
        ("key", keys.key.to_owned()),
        ("prefix", keys.flag().to_owned()),
        ("keys_only", if values { String::new() } else { "yes".to_owned() }),
    ];
    // The whole response is kept in memory; data that does not fit there belongs in a snapshot.
    let mut answer = Vec::new();
    let script = set(&variables, GET);
    voice.remote.run_checked(Request::new("read from etcd", script).timeout(ANSWER).stdout_to(&mut answer))?;
    data::entries(&String::from_utf8_lossy(&answer)).map_err(|error| StepError::Gate(error.to_string()))
}

/// Watches keys from `revision` on until etcd stops responding; `tell` is called with each batch of changes as it
/// arrives. Every ten minutes a new watch begins where the last one ended.
///
/// # Errors
/// The connection fails, etcd does not respond, or `tell` fails.
pub fn watch(
    voice: &Voice,
    keys: Keys<'_>,
    revision: u64,
    tell: &mut (dyn FnMut(Changes) -> io::Result<()> + Send),
) -> Result<(), StepError> {
    let mut from = revision;
    loop {
        let variables = [
            ("endpoint", client_url(voice.ip)),
            ("key", keys.key.to_owned()),
            ("prefix", keys.flag().to_owned()),
            ("revision", from.to_string()),
            ("seconds", WATCHING.as_secs().to_string()),
        ];
        let script = set(&variables, WATCH);
        let mut lines = Lines { rest: Vec::new(), next: &mut from, tell };
        let request = Request::new("watch etcd", script).timeout(WATCHING + ANSWER).stdout_to(&mut lines);
        let output = voice.remote.run(request)?;
        if output.status != ENDED_BY_TIMEOUT {
            let why = output.stderr_text();
            let why = why.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
            return Err(StepError::Gate(format!("etcd ended the watch: {why}")));
        }
    }
}

/// Splits a stream into lines of any length.
struct Lines<'a> {
    rest: Vec<u8>,
    next: &'a mut u64,
    tell: &'a mut (dyn FnMut(Changes) -> io::Result<()> + Send),
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if line.trim().is_empty() {
                continue;
            }
            let changes = data::changes(&line).map_err(io::Error::other)?;
            *self.next = (changes.revision + 1).max(*self.next);
            (self.tell)(changes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Releases the free space of one member's database to its file system.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn defragment(remote: &dyn Remote, token: &Token, ip: std::net::IpAddr) -> Result<(), StepError> {
    run_under(remote, token, "defragment etcd", &set(&[("endpoint", client_url(ip))], DEFRAGMENT), DEFRAGMENTATION)?;
    Ok(())
}

/// Compacts the history of etcd up to the current revision, which is returned.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn compact(voice: &Voice, token: &Token) -> Result<u64, StepError> {
    let (revision, _) = get(voice, Keys { key: "machinist/write-check", prefix: false }, false)?;
    let variables = [("endpoint", client_url(voice.ip)), ("revision", revision.to_string())];
    run_under(&*voice.remote, token, "compact etcd", &set(&variables, COMPACT), DEFRAGMENTATION)?;
    Ok(revision)
}

/// Disarms all alarms of etcd.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn disarm(voice: &Voice, token: &Token) -> Result<(), StepError> {
    let script = set(&[("endpoint", client_url(voice.ip))], DISARM);
    run_under(&*voice.remote, token, "disarm the alarm", &script, ANSWER)?;
    Ok(())
}

/// Writes a key through the member at `ip` and deletes it again.
///
/// # Errors
/// The connection fails, or etcd refuses the write.
pub fn try_write(remote: &dyn Remote, ip: std::net::IpAddr) -> Result<(), StepError> {
    run(remote, "write to etcd", &set(&[("endpoint", client_url(ip))], TRY_WRITE), ANSWER)?;
    Ok(())
}

/// Moves the leadership to another member. `leader` is connected to the current leader.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn move_leader(leader: &dyn Remote, token: &Token, ip: std::net::IpAddr, heir: u64) -> Result<(), StepError> {
    let variables = [("endpoint", client_url(ip)), ("heir", hexadecimal(heir))];
    run_under(leader, token, "hand the leadership over", &set(&variables, MOVE_LEADER), ANSWER)?;
    Ok(())
}

/// Lists the snapshots on a member's own disk, newest first.
///
/// # Errors
/// The connection fails.
pub fn snapshots(remote: &dyn Remote, node: &NodeName) -> Result<Vec<Kept>, StepError> {
    let output = run(remote, "list the snapshots", LIST_SNAPSHOTS, ANSWER)?;
    Ok(kept(node, &output.stdout_text()))
}

/// Reads a snapshot file of a node and writes it to `to`.
///
/// # Errors
/// The connection fails, or the file does not exist.
pub fn read_file(remote: &dyn Remote, file: &str, to: &mut (dyn Write + Send)) -> Result<(), StepError> {
    let script = set(&[("file", file.to_owned())], READ_FILE);
    remote.run_checked(Request::new("read the snapshot", script).timeout(TRANSFER).stdout_to(to))?;
    Ok(())
}

/// Restore of a snapshot in place of a member's data.
pub struct Restore<'a> {
    /// Name of this restore: the old data is kept under it.
    pub mark: &'a str,
    /// SHA-256 of the snapshot, in hexadecimal.
    pub digest: &'a str,
}

impl Restore<'_> {
    /// Sends the snapshot to a member, which is otherwise unchanged.
    ///
    /// # Errors
    /// The lock is gone, the connection fails, or the snapshot did not arrive completely.
    pub fn send(
        &self,
        remote: &dyn Remote,
        token: &Token,
        snapshot: impl Read + Send + 'static,
    ) -> Result<(), StepError> {
        let script = set(&[("digest", self.digest.to_owned())], &[DURABLE, RECEIVE].concat());
        let request = Request::new("send the snapshot", script).timeout(TRANSFER).reader(snapshot);
        request_under(remote, token, request)?;
        Ok(())
    }

    /// Stops etcd on a member and requests the restore.
    ///
    /// # Errors
    /// The lock is gone, the connection fails, or etcd does not stop.
    pub fn ask(&self, remote: &dyn Remote, token: &Token) -> Result<(), StepError> {
        let variables =
            [("mark", self.mark.to_owned()), ("bump", REVISION_JUMP.to_string()), ("digest", self.digest.to_owned())];
        let script = set(&variables, &[DURABLE, ASK_FOR_RESTORE].concat());
        run_under(remote, token, "ask for the restore", &script, Duration::from_secs(120))?;
        Ok(())
    }

    /// Starts etcd on a member if its system has it already. Returns false if the system has yet to be deployed.
    ///
    /// # Errors
    /// The lock is gone, or the connection fails.
    pub fn start(&self, remote: &dyn Remote, token: &Token) -> Result<bool, StepError> {
        let output = run_under(remote, token, "start etcd", START_RESTORED, ANSWER)?;
        Ok(output.stdout_text().trim() == "started")
    }

    /// Waits until the restore has finished.
    ///
    /// # Errors
    /// The connection fails, the restore failed, or it does not end within an hour.
    pub fn wait(&self, remote: &dyn Remote) -> Result<(), StepError> {
        let deadline = Instant::now() + TRANSFER;
        loop {
            let output = run(remote, "ask about the restore", RESTORE_STATE, ANSWER)?;
            if output.stdout_text().trim() == "done" {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StepError::Gate(
                    "the restore does not end (`journalctl -u machinist-etcd-restore`)".into(),
                ));
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn set(variables: &[(&str, String)], script: &str) -> String {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    script::with(&variables, script)
}
