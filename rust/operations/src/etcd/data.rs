//! Data of etcd: keys, values and their changes. Read-only.

use std::io;

use machinist_etcd::data::{Changes, Entry};
use machinist_rollout::upkeep::{self, Keys};

use super::session::{Session, failed};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// Returns a key with its value.
///
/// # Errors
/// There is no such key, or no member answers.
pub fn get(context: &Context, key: &str) -> Result<Entry, Failure> {
    let voice = Session::open(context, None)?.voice()?;
    let (_, entries) = upkeep::get(&voice, Keys { key, prefix: false }, true).map_err(|error| failed(&error))?;
    entries.into_iter().next().ok_or_else(|| {
        let failure = Failure::new(Kind::Failed, format!("etcd has no key {key}"));
        failure.hint(format!("`machinist etcd ls {}` lists those that begin like it", parent(key)))
    })
}

/// Keys at a revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Revision of etcd.
    pub revision: u64,
    /// Keys, without their values.
    pub entries: Vec<Entry>,
}

/// Lists the keys that begin with the prefix.
///
/// # Errors
/// No member answers.
pub fn list(context: &Context, prefix: &str) -> Result<Listing, Failure> {
    let voice = Session::open(context, None)?.voice()?;
    let keys = Keys { key: prefix, prefix: true };
    let (revision, entries) = upkeep::get(&voice, keys, false).map_err(|error| failed(&error))?;
    Ok(Listing { revision, entries })
}

/// Request to watch keys.
#[derive(Clone, Debug, Default)]
pub struct WatchRequest {
    /// Prefix of the watched keys.
    pub prefix: String,
    /// First revision to report; by default the next one.
    pub revision: Option<u64>,
}

/// Reports each change of the keys as it happens, until the receiver returns an error or the interrupt is set.
///
/// # Errors
/// etcd has compacted the revision, or the member stopped answering. The receiver's error is returned as well.
pub fn watch(
    context: &Context,
    request: &WatchRequest,
    receiver: &mut (dyn FnMut(&Changes) -> io::Result<()> + Send),
) -> Result<(), Failure> {
    let voice = Session::open(context, None)?.voice()?;
    let keys = Keys { key: &request.prefix, prefix: true };
    let from = match request.revision {
        Some(revision) => revision,
        // Starting from this revision, no change between this request and the watch is missed.
        None => upkeep::get(&voice, keys, false).map_err(|error| failed(&error))?.0 + 1,
    };
    context.events.remark(format!("{} is asked from revision {from} on; Ctrl-C ends it", voice.node));
    let mut next = from;
    let mut tell = |changes: Changes| {
        next = changes.revision + 1;
        if let Some(oldest) = changes.compacted {
            return Err(io::Error::other(format!("etcd no longer has that revision, the oldest is {oldest}")));
        }
        if context.interrupt.is_set() {
            return Err(io::Error::other("interrupted"));
        }
        receiver(&changes)
    };
    match upkeep::watch(&voice, keys, from, &mut tell) {
        Ok(()) => Ok(()),
        Err(_) if context.interrupt.is_set() => Ok(()),
        Err(error) => Err(failed(&error).hint(format!("`machinist etcd watch --revision {next}` goes on from here"))),
    }
}

/// Returns a key without its last path component.
fn parent(key: &str) -> &str {
    key.rfind('/').map_or("", |end| key.get(..=end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn a_key_that_is_not_there_points_to_its_neighbours() {
        assert_eq!(parent("/cluster/nodes/n1"), "/cluster/nodes/");
        assert_eq!(parent("plain"), "");
    }
}
