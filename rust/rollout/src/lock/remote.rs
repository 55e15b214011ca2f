//! Takes, renews and releases the lock on a node. Each operation is a single command that is atomic on the node.

use std::time::Duration;

use machinist_remote::{Output, Remote, RemoteError, Request, Status};

use super::{
    state::{Claimant, LASTS, Lock, Moment},
    token::Token,
};
use crate::{
    identity::Machine,
    script,
    step::{StepError, run},
};

/// Time limit of a command; longer than the node waits for the guard of its lock.
const BOUND: Duration = Duration::from_secs(75);

/// State of a node and its lock.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The lock.
    pub lock: Lock,
    /// The rest of the node's state. The node does not know whether the holder has ended.
    pub moment: Moment,
    /// The identity of the machine.
    pub machine: Machine,
}

impl Look {
    /// Parses the output of the script. Unknown lines are skipped, since login shells print messages.
    fn parse(text: &str) -> Self {
        let mut look = Self::default();
        let mut lock = String::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "lock" => lock.extend([value, "\n"]),
                "activating" => look.moment.activating = true,
                "boot" => value.trim().clone_into(&mut look.moment.boot),
                "uptime" => look.moment.uptime = value.trim().parse().unwrap_or(0),
                "machine" => value.trim().clone_into(&mut look.machine.id),
                "name" => look.machine.name = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        look.lock = Lock::parse(&lock);
        look.machine.boot.clone_from(&look.moment.boot);
        look
    }
}

/// Reads a node's lock and state.
///
/// # Errors
/// The connection fails, or systemd on the node does not respond.
pub fn look(remote: &dyn Remote) -> Result<Look, RemoteError> {
    let output = run(remote, "look at the lock", script::LOOK, BOUND)?;
    Ok(Look::parse(&output.stdout_text()))
}

/// Takes the lock, if it is unchanged since it was read. Otherwise the inner `Err` is its current state.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn take(remote: &dyn Remote, read: &Lock, claimant: &Claimant) -> Result<Result<Token, Look>, RemoteError> {
    let claim = read.claimed(claimant);
    let variables = [
        ("action", "take"),
        ("expected", read.text.trim_end()),
        ("claim", claim.trim_end()),
        ("lasts", &LASTS.to_string()),
    ];
    let (done, look) = change(remote, "take the lock", &variables)?;
    // The response to the first attempt may have been lost with its connection.
    let ours = look
        .lock
        .holder
        .as_ref()
        .is_some_and(|holder| holder.run == claimant.run && holder.process == claimant.process);
    Ok(if done || ours { Ok(Token { fence: look.lock.fence, run: claimant.run.clone() }) } else { Err(look) })
}

/// Result of the renewal or release of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The token's lock was still held.
    Ours,
    /// Another run holds it, or it is free. The text names the holder.
    Lost(String),
}

impl Kept {
    fn of((done, look): (bool, Look)) -> Self {
        let holder = look.lock.holder.map(|holder| format!("{} (run {})", holder.who, holder.run));
        if done { Self::Ours } else { Self::Lost(holder.unwrap_or_else(|| "nobody".to_owned())) }
    }
}

/// Renews the lock for this many seconds from now.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn renew(remote: &dyn Remote, token: &Token, lasts: u64) -> Result<Kept, RemoteError> {
    let fence = token.fence.to_string();
    let lasts = lasts.to_string();
    let variables = [("action", "renew"), ("fence", fence.as_str()), ("run", &token.run), ("lasts", &lasts)];
    change(remote, "renew the lock", &variables).map(Kept::of)
}

/// Releases the lock; the counter is kept.
///
/// # Errors
/// The connection fails or the node cannot write.
pub fn release(remote: &dyn Remote, token: &Token) -> Result<Kept, RemoteError> {
    let fence = token.fence.to_string();
    let variables = [("action", "release"), ("fence", &fence), ("run", token.run.as_str())];
    change(remote, "release the lock", &variables).map(Kept::of)
}

fn change(remote: &dyn Remote, label: &str, variables: &[(&str, &str)]) -> Result<(bool, Look), RemoteError> {
    let output = run(remote, label, &script::with(variables, script::LOCK), BOUND)?;
    let text = output.stdout_text();
    Ok((text.lines().any(|line| line == "verdict=done"), Look::parse(&text)))
}

/// Runs a script that must succeed, if the token's lock is still held on the node.
///
/// # Errors
/// The lock is lost, the connection fails, or the script fails.
pub fn run_under(
    remote: &dyn Remote,
    token: &Token,
    label: &str,
    script: &str,
    bound: Duration,
) -> Result<Output, StepError> {
    request_under(remote, token, Request::new(label, script).timeout(bound))
}

/// Like [`run_under`], for a request with input or with redirected output.
///
/// # Errors
/// As [`run_under`].
pub fn request_under(remote: &dyn Remote, token: &Token, mut request: Request<'_>) -> Result<Output, StepError> {
    request.script = script::under(token, &request.script);
    let label = request.label.clone();
    let output = remote.run(request)?;
    match &output.status {
        Status::Exited(0) => Ok(output),
        Status::Exited(script::LOST) => {
            let said = output.stderr_text();
            let why = said.lines().rev().find(|line| line.contains("the lock of this run")).map(str::trim);
            Err(StepError::Locked(why.unwrap_or("the lock of this run is gone").to_owned()))
        }
        status => {
            let (status, stderr) = (status.clone(), output.stderr_tail(20));
            Err(RemoteError::Command { at: remote.endpoint().clone(), label, status, stderr }.into())
        }
    }
}

/// Takes a node's lock from any holder and releases it at once, so that an activation under the old lock reverts to the
/// previous system.
///
/// # Errors
/// The node cannot be reached, or someone took the lock in between.
pub fn break_lock(remote: &dyn Remote, found: &Lock, claimant: &Claimant) -> Result<(), StepError> {
    match take(remote, found, claimant)? {
        Ok(token) => release(remote, &token).map(drop).map_err(StepError::from),
        Err(now) => {
            let who = now.lock.holder.map_or_else(|| "nobody".to_owned(), |holder| holder.who);
            Err(StepError::Locked(format!("the lock changed hands meanwhile ({who} holds it now)")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::BTreeSet,
        path::Path,
        process::{Command, Output},
        thread,
    };

    use super::Look;
    use crate::{
        lock::{Claimant, Lock, Token},
        script,
    };

    /// Runs a script with another directory in place of the node's state directory.
    fn sh(directory: &Path, script: &str) -> Output {
        let script = script.replace("/var/lib/machinist", &directory.to_string_lossy());
        Command::new("sh").args(["-c", &script]).output().unwrap()
    }

    fn change(directory: &Path, variables: &[(&str, &str)]) -> (bool, Lock) {
        let output = sh(directory, &script::with(variables, script::LOCK));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        (text.lines().any(|line| line == "verdict=done"), Look::parse(&text).lock)
    }

    /// Returns `done` if a script runs under the token, otherwise the reason why it does not.
    fn under(directory: &Path, fence: u64, run: &str) -> String {
        let token = Token { fence, run: run.to_owned() };
        let output = sh(directory, &script::under(&token, "echo done"));
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        assert!(output.status.success() || output.status.code() == Some(script::LOST), "{output:?}");
        String::from_utf8_lossy(said).trim().to_owned()
    }

    /// Returns true if an activation that was started under the token continues.
    fn goes_on(directory: &Path, fence: u64, run: &str) -> bool {
        let token = Token { fence, run: run.to_owned() };
        let variables = token.variables();
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let script = [include_str!("../script/holds.sh"), "belongs"].concat();
        sh(directory, &script::with(&variables, &script)).status.success()
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
    fn a_lock_is_renewed_while_the_boot_loader_is_installed_and_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (_, first) = take(path, &Lock::default(), "r1");
        let guard = std::fs::File::create(path.join("lock.guard")).unwrap();
        guard.lock().unwrap();
        let (renewed, lock) = held(path, "renew", "1", "r1");
        assert!(renewed && lock.holder.is_some_and(|holder| holder.run == "r1"));
        let claimant = [("action", "take"), ("expected", first.text.trim_end()), ("claim", "fence=2"), ("lasts", "90")];
        let waits_less = script::with(&claimant, &script::LOCK.replace("flock -w 60 9", "flock -w 1 9"));
        let refused = sh(path, &waits_less);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("lock.guard is held"), "{refused:?}");
        drop(guard);
        assert!(take(path, &held(path, "renew", "1", "r1").1, "r2").0);
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
    #[test]
    fn what_is_sent_under_a_lock_is_done_under_that_lock_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(under(path, 1, "r1"), "the lock of this run is gone (nobody holds it now)");
        let (_, first) = take(path, &Lock::default(), "r1");
        assert_eq!(under(path, 1, "r1"), "done");
        assert_eq!(under(path, 2, "r1"), "the lock of this run is gone (a b@c holds it now)");
        assert_eq!(under(path, 1, "r2"), "the lock of this run is gone (a b@c holds it now)");
        assert!(change(path, &[("action", "renew"), ("fence", "1"), ("run", "r1"), ("lasts", "29")]).0);
        assert_eq!(under(path, 1, "r1"), "the lock of this run has not been renewed");
        assert!(goes_on(path, first.fence, "r1"), "nobody has taken it over");
    }

    #[test]
    fn the_process_that_a_run_was_resumed_from_can_do_nothing_and_its_activation_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (_, first) = take(path, &Lock::default(), "r1");
        let (resumed, second) = take(path, &first, "r1");
        assert!(resumed);
        assert_eq!((first.fence, second.fence), (1, 2));
        for action in ["renew", "release"] {
            assert!(!held(path, action, "1", "r1").0, "{action}");
        }
        assert_eq!(under(path, 1, "r1"), "the lock of this run is gone (a b@c holds it now)");
        assert_eq!(under(path, 2, "r1"), "done");
        assert!(goes_on(path, 1, "r1") && goes_on(path, 2, "r1"));
        let (_, now) = held(path, "look", "", "");
        assert!(take(path, &now, "r2").0);
        assert!(!goes_on(path, 1, "r1") && !goes_on(path, 2, "r1"), "another run has taken over");
    }

    #[test]
    fn a_look_passes_over_what_a_shell_prints() {
        let text = "Welcome!\nboot=b1\nuptime=17\nmachine=0f\nname=a\nactivating=yes\nlock=fence=3\nlock=run=r\n";
        let look = Look::parse(text);
        assert_eq!((look.moment.boot.as_str(), look.moment.uptime, look.moment.activating), ("b1", 17, true));
        assert_eq!((look.machine.id.as_str(), look.machine.name.as_deref()), ("0f", Some("a")));
        assert_eq!(look.lock.text, "fence=3\nrun=r\n");
    }
}
