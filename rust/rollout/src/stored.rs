//! Members in the data of one member, read from a snapshot on its host: a few pages of it, whatever its size.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::IpAddr,
    sync::mpsc::{self, Receiver, Sender},
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

/// Reads the members from the data of the member at this address, on whose host `remote` is.
///
/// # Errors
/// The connection fails, etcd makes no snapshot, or it cannot be read.
pub fn stored_members(remote: &dyn Remote, ip: IpAddr) -> Result<BTreeMap<u64, Stored>, StepError> {
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    let script = script::with(&[("endpoint", &client_url(ip))], SERVE);
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let mut sink = Answers(answer);
            let request = Request::new("read the members in etcd's data", script).timeout(BOUND);
            remote.run_checked(request.reader(Questions { asked, rest: Vec::new() }).stdout_to(&mut sink)).map(drop)
        });
        let mut snapshot = Snapshot { ask, answered, rest: Vec::new() };
        let found = snapshot.line().map_err(StepError::from_read).and_then(|_size| {
            members(&mut |offset, length| snapshot.read(offset, length))
                .map_err(|error| StepError::Gate(crate::text::chain(&error)))
        });
        // The end of its input ends the script.
        drop(snapshot);
        let served = serving.join().unwrap_or(Ok(()));
        served.map_err(StepError::from).and(found)
    })
}

impl StepError {
    fn from_read(error: io::Error) -> Self {
        Self::Gate(format!("the snapshot of etcd cannot be read: {error}"))
    }
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
            self.more()?;
        }
    }

    fn read(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let question = format!("{offset} {length}\n").into_bytes();
        self.ask.send(question).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        while self.rest.len() < length {
            self.more()?;
        }
        Ok(self.rest.drain(..length).collect())
    }
}

/// Standard input of the script: questions as they are asked.
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
struct Answers(Sender<Vec<u8>>);

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
