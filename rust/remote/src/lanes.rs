//! Connections of one session: normally one, and more if the host's sshd allows fewer sessions per connection than run
//! at the same time (`MaxSessions`).

use crate::driver::{Inbox, Job};
use crate::error::RemoteError;
use crate::link::Link;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Upper bound of further connections, with one command at a time each.
const SPARE_LIMIT: usize = 8;

/// Opens a further connection to the same host.
pub(crate) type Dial = Box<dyn Fn() -> Result<Arc<Inbox>, RemoteError> + Send + Sync>;

/// The connections of one session.
pub(crate) struct Lanes {
    first: Arc<Inbox>,
    spare: Mutex<Vec<Arc<Inbox>>>,
    dial: Dial,
}

impl Lanes {
    pub fn new(first: Arc<Inbox>, dial: Dial) -> Self {
        Self { first, spare: Mutex::default(), dial }
    }

    /// Returns the connection that is used for everything as long as the host allows it.
    pub fn first(&self) -> &Inbox {
        &self.first
    }

    /// Runs a command on a further connection, after its host refused a session on another one. Returns `None` at the
    /// upper bound of connections.
    ///
    /// # Errors
    /// No further connection can be opened.
    pub fn elsewhere(&self, command: &str, link: &Arc<Link>) -> Result<Option<()>, RemoteError> {
        let Some(inbox) = self.spare()? else { return Ok(None) };
        link.attach(&inbox.waker);
        Ok(inbox.submit(Job::moved(command, link.clone())).ok())
    }

    fn spare(&self) -> Result<Option<Arc<Inbox>>, RemoteError> {
        {
            let mut spare = self.lock();
            spare.retain(|inbox| inbox.lost().is_none());
            if let Some(idle) = spare.iter().find(|inbox| inbox.is_idle()) {
                return Ok(Some(idle.clone()));
            }
            if spare.len() >= SPARE_LIMIT {
                return Ok(None);
            }
        }
        let inbox = (self.dial)()?;
        self.lock().push(inbox.clone());
        Ok(Some(inbox))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Inbox>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.first.close();
        for inbox in self.lock().iter() {
            inbox.close();
        }
    }
}
