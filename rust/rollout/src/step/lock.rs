//! Takes, renews and releases the lock on a node. Each is one command that the node carries out whole or not at all.

use std::time::Duration;

use machinist_remote::{Remote, RemoteError};

use super::run;
use crate::{
    lock::{Claimant, LASTS, Lock},
    script,
};

/// Longer than the node waits for its guard.
const BOUND: Duration = Duration::from_secs(75);

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The counter that was given with it.
    pub fence: u64,
    /// The run that holds it.
    pub run: String,
}

/// Takes the lock, if it still is what was read. `Err` within `Ok` is the lock as it is now.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn take(remote: &dyn Remote, read: &Lock, claimant: &Claimant) -> Result<Result<Token, Lock>, RemoteError> {
    let claim = read.claimed(claimant);
    let variables = [
        ("action", "take"),
        ("expected", read.text.trim_end()),
        ("claim", claim.trim_end()),
        ("lasts", &LASTS.to_string()),
    ];
    let (done, lock) = change(remote, "take the lock", &variables)?;
    // The answer to the first try may have been lost with its connection.
    let ours =
        lock.holder.as_ref().is_some_and(|holder| holder.run == claimant.run && holder.process == claimant.process);
    Ok(if done || ours { Ok(Token { fence: lock.fence, run: claimant.run.clone() }) } else { Err(lock) })
}

/// Lets the lock last longer. False if it is no longer ours.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn renew(remote: &dyn Remote, token: &Token) -> Result<bool, RemoteError> {
    let fence = token.fence.to_string();
    let variables = [("action", "renew"), ("fence", &fence), ("run", &token.run), ("lasts", &LASTS.to_string())];
    change(remote, "renew the lock", &variables).map(|(done, _)| done)
}

/// Gives the lock back; the counter stays. False if it was no longer ours.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn release(remote: &dyn Remote, token: &Token) -> Result<bool, RemoteError> {
    let fence = token.fence.to_string();
    let variables = [("action", "release"), ("fence", &fence), ("run", token.run.as_str())];
    change(remote, "release the lock", &variables).map(|(done, _)| done)
}

fn change(remote: &dyn Remote, label: &str, variables: &[(&str, &str)]) -> Result<(bool, Lock), RemoteError> {
    let output = run(remote, label, &script::with(variables, script::LOCK), BOUND)?;
    let text = output.stdout_text();
    let (verdict, lock) = text.split_once('\n').unwrap_or((&text, ""));
    Ok((verdict == "done", Lock::parse(lock)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeSet, path::Path, process::Command, thread};

    use crate::{
        lock::{Claimant, Lock},
        script,
    };

    /// Runs the node's script with another directory in place of the node's.
    fn change(directory: &Path, variables: &[(&str, &str)]) -> (bool, Lock) {
        let script = script::with(variables, script::LOCK).replace("/var/lib/machinist", &directory.to_string_lossy());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (verdict, lock) = text.split_once('\n').unwrap();
        (verdict == "done", Lock::parse(lock))
    }

    fn take(directory: &Path, read: &Lock, run: &str) -> (bool, Lock) {
        let claimant =
            Claimant { run: run.to_owned(), who: "a b@c".to_owned(), process: "p".to_owned(), since: "T".to_owned() };
        let claim = read.claimed(&claimant);
        let variables =
            [("action", "take"), ("expected", read.text.trim_end()), ("claim", claim.trim_end()), ("lasts", "90")];
        change(directory, &variables)
    }

    fn held(directory: &Path, action: &str, fence: &str, run: &str) -> (bool, Lock) {
        change(directory, &[("action", action), ("fence", fence), ("run", run), ("lasts", "90")])
    }

    #[test]
    fn of_many_that_take_a_lock_at_once_one_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let winners: BTreeSet<String> = thread::scope(|scope| {
            let path = directory.path();
            let takes: Vec<_> = (0..12)
                .map(|n| format!("r{n}"))
                .map(|run| scope.spawn(move || take(path, &Lock::default(), &run).0.then_some(run)))
                .collect();
            takes.into_iter().filter_map(|take| take.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1, "{winners:?}");
    }

    #[test]
    fn the_counter_outlives_the_holder_and_a_stale_token_does_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (done, first) = take(directory.path(), &Lock::default(), "r1");
        assert_eq!((done, first.fence), (true, 1));
        assert!(held(directory.path(), "renew", "1", "r1").0);
        let (done, taken) = take(directory.path(), &first, "r2");
        assert!(done || taken.text != first.text, "only a renewal in the same second leaves the text as it was");
        let (_, now) = held(directory.path(), "look", "", "");
        let (_, second) = if done { (true, taken) } else { take(directory.path(), &now, "r2") };
        assert_eq!((second.fence, second.holder.unwrap().run.as_str()), (2, "r2"));
        assert!(!held(directory.path(), "renew", "1", "r1").0);
        assert!(!held(directory.path(), "release", "1", "r1").0);
        assert!(held(directory.path(), "release", "2", "r2").0);
        let (_, free) = held(directory.path(), "look", "", "");
        assert_eq!((free.fence, free.holder), (2, None));
    }
}
