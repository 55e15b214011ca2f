//! Members in the data of one member, read from a snapshot on its host: a few pages of it, independent of its size.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::IpAddr,
    sync::mpsc::{self, Receiver, Sender, SyncSender},
    thread,
    time::Duration,
};

use machinist_etcd::{
    etcd::client_url,
    stored::{SERVE, Stored, members},
};
use machinist_remote::{Remote, Request};

use crate::{script, step::StepError};

/// Time limit of a snapshot and of reading it.
const BOUND: Duration = Duration::from_secs(660);

/// Time limit of one answer. The first one follows the snapshot.
const ANSWER: Duration = Duration::from_secs(620);

/// Number of parts of an answer that wait for their reader: a host may send more than was requested.
const WAITING: usize = 8;

/// Maximum length of the first line, the size of the snapshot in bytes.
const LONGEST_SIZE: usize = 32;

/// Reads the members from the data of the member at this address, on whose host `remote` is.
///
/// # Errors
/// The connection fails, etcd makes no snapshot, or it cannot be read.
pub fn stored_members(remote: &dyn Remote, ip: IpAddr) -> Result<BTreeMap<u64, Stored>, StepError> {
    served(remote, script::with(&[("endpoint", &client_url(ip))], SERVE))
}

/// Reads the members from the snapshot that the script serves.
fn served(remote: &dyn Remote, script: String) -> Result<BTreeMap<u64, Stored>, StepError> {
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::sync_channel(WAITING);
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let mut sink = Answers(answer);
            let request = Request::new("read the members in etcd's data", script).timeout(BOUND);
            remote.run_checked(request.reader(Questions { asked, rest: Vec::new() }).stdout_to(&mut sink)).map(drop)
        });
        let mut snapshot = Snapshot { ask, answered, rest: Vec::new() };
        let found = snapshot.line().map_err(|error| unreadable(&error)).and_then(|_size| {
            members(&mut |offset, length| snapshot.read(offset, length))
                .map_err(|error| StepError::Gate(crate::text::chain(&error)))
        });
        // The end of its input ends the script.
        drop(snapshot);
        let served = serving.join().unwrap_or(Ok(()));
        served.map_err(StepError::from).and(found)
    })
}

fn unreadable(error: &io::Error) -> StepError {
    StepError::Gate(format!("the snapshot of etcd cannot be read: {error}"))
}

/// A snapshot that the script serves.
struct Snapshot {
    ask: Sender<Vec<u8>>,
    answered: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Snapshot {
    fn more(&mut self) -> io::Result<()> {
        let bytes = self.answered.recv_timeout(ANSWER).map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.rest.extend(bytes);
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Ok(self.rest.drain(..=end).collect());
            }
            if self.rest.len() > LONGEST_SIZE {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            self.more()?;
        }
    }

    fn read(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let question = format!("{offset} {length}\n").into_bytes();
        self.ask.send(question).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        // Up to the newline: bytes at the end of what has arrived are held back while they may begin the mark that ends a
        // script's output, and 1 of 256 checksums ends with such a byte.
        while self.rest.len() <= length {
            self.more()?;
        }
        let answer = self.rest.drain(..length).collect();
        self.rest.drain(..1);
        Ok(answer)
    }
}

/// Standard input of the script: requests as they are made.
struct Questions {
    asked: Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Read for Questions {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            let Ok(question) = self.asked.recv() else { return Ok(0) };
            self.rest = question;
        }
        let count = buffer.len().min(self.rest.len());
        for (to, from) in buffer.iter_mut().zip(self.rest.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

/// Standard output of the script.
struct Answers(SyncSender<Vec<u8>>);

impl Write for Answers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a reader the answers no longer matter.
        let _unread = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        os::unix::fs::PermissionsExt as _,
        path::Path,
        process::Command,
    };

    use machinist_etcd::stored::{SERVE, Stored};
    use machinist_remote::Local;

    use super::served;
    use crate::step::StepError;

    const DATABASE: &[u8] = include_bytes!("../../etcd/src/fixtures/promoted-learners.db");

    /// Runs the real script on this computer, with a fake etcdctl that copies a database, and reports its size as this.
    fn run(folder: &Path, size: &str) -> Result<BTreeMap<u64, Stored>, StepError> {
        let at = |name: &str| folder.join(name);
        let mut database = DATABASE.to_vec();
        // The first byte of a mark, at the end of an answer.
        database[79] = 0x1e;
        fs::write(at("database"), database).unwrap();
        let fake = format!(
            "#!/bin/sh\ncase $* in *'endpoint status'*) echo '[{{\"Status\":{{\"dbSize\":{size},\"x\":1}}}}]'; exit ;; esac\n\
             for last; do :; done\ncp {} \"$last\"\n",
            at("database").display()
        );
        fs::write(at("machinist-etcdctl"), fake).unwrap();
        fs::set_permissions(at("machinist-etcdctl"), fs::Permissions::from_mode(0o755)).unwrap();
        let script = SERVE.replace("/run/current-system/sw/bin", &folder.display().to_string());
        let script = script.replace("/var/lib/machinist", &folder.display().to_string());
        served(&Local::new("a"), format!("endpoint=x\n{script}"))
    }

    /// Returns the names of the copies in the folder.
    fn copies(folder: &Path) -> BTreeSet<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("snapshot")).collect()
    }

    #[test]
    fn the_script_serves_the_pages_that_are_requested_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let found = run(folder.path(), "65536").unwrap();
        assert_eq!(found.values().filter(|member| member.learner).count(), 2);
        assert_eq!(copies(folder.path()), [].into());
    }

    #[test]
    fn a_disk_without_room_for_the_copy_is_not_filled() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), "1000000000000000000").unwrap_err().to_string();
        assert!(error.contains("not enough free space"), "{error}");
        assert_eq!(copies(folder.path()), [].into());
    }

    #[test]
    fn a_copy_that_a_power_cut_left_is_removed_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let boot = boot.get(..8).unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let before_the_boot = format!("snapshot-00000000-{}-aaaaaa", std::process::id());
        let killed = format!("snapshot-{boot}-{}-bbbbbb", ended.id());
        let in_use = format!("snapshot-{boot}-{}-cccccc", std::process::id());
        for name in [&before_the_boot, &killed, &in_use, "snapshot-dddddd", "snapshots"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("etcd.db"), "x").unwrap();
        }
        run(folder.path(), "65536").unwrap();
        let recent = "snapshot-dddddd".to_owned();
        assert_eq!(copies(folder.path()), [in_use, recent, "snapshots".to_owned()].into());
    }
}
