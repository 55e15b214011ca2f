//! All locks of a run are taken before anything is changed anywhere, or none.

use std::{collections::BTreeMap, fs, sync::Arc};

use machinist_model::NodeName;
use machinist_remote::Remote;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;

use super::{Deploy, Host, Hosts, Outcome, Report, preflight::Deltas};
use crate::{
    EventKind, HostFacts,
    keeper::Keeper,
    lock::{self, Claimant, Decision, Holder, Lock, Moment},
    step::{
        StepError,
        lock::{Token, release, take},
    },
};

/// How often a take is tried when someone changes the lock at the same time.
const TRIES: usize = 3;

impl Deploy {
    /// Takes the locks of all nodes that change and are ready, at once. `None` if one is refused; the others are given back.
    pub(super) async fn lock(
        self: &Arc<Self>,
        hosts: &Hosts,
        deltas: &Deltas,
        report: &mut Report,
    ) -> Option<Arc<Keeper>> {
        let claimant = Arc::new(Claimant {
            run: self.run.clone(),
            who: self.who.clone(),
            process: this_process(),
            since: OffsetDateTime::now_utc().replace_nanosecond(0).ok()?.format(&Rfc3339).unwrap_or_default(),
        });
        let mut tasks = JoinSet::new();
        for host in deltas.keys().filter_map(|node| hosts.get(node)) {
            let (this, host, claimant) = (Arc::clone(self), Arc::clone(host), Arc::clone(&claimant));
            tasks.spawn_blocking(move || (host.target.node.clone(), this.lock_one(&host, &claimant)));
        }
        let (mut locks, mut refused) = (BTreeMap::new(), false);
        for (node, result) in tasks.join_all().await {
            match result {
                Ok(token) => {
                    if let Some(host) = hosts.get(&node) {
                        let remote: Arc<dyn Remote> = Arc::clone(&host.remote);
                        locks.insert(node, (remote, token));
                    }
                }
                Err(error) => {
                    refused = true;
                    self.fail(report, &node, &error);
                }
            }
        }
        let taken: Vec<NodeName> = locks.keys().cloned().collect();
        let keeper = Arc::new(Keeper::start(locks, Arc::clone(&self.connector), self.interrupt.clone()));
        if !refused {
            return Some(keeper);
        }
        self.unlock(keeper).await;
        let why = "another node could not be locked, so nothing was changed".to_owned();
        report.nodes.extend(taken.into_iter().map(|node| (node, Outcome::NotStarted { why: why.clone() })));
        None
    }

    fn lock_one(&self, host: &Host, claimant: &Claimant) -> Result<Token, StepError> {
        let mut found = host.facts.lock.clone();
        for _ in 0..TRIES {
            match lock::decide(&found, &claimant.run, &moment(&host.facts, &found)) {
                Decision::Take | Decision::Keep => {}
                Decision::TakeOver { why } => {
                    let text = format!("taking the lock over: {why}");
                    self.events.node(&host.target.node, EventKind::Note { text });
                }
                Decision::Refuse { why } => return Err(StepError::Locked(why)),
            }
            match take(&*host.remote, &found, claimant)? {
                Ok(token) => return Ok(token),
                Err(now) => found = now,
            }
        }
        Err(StepError::Locked("someone else keeps changing the lock".to_owned()))
    }

    /// Gives the locks back.
    pub(super) async fn unlock(self: &Arc<Self>, keeper: Arc<Keeper>) {
        let this = Arc::clone(self);
        let released = tokio::task::spawn_blocking(move || {
            // All tasks of the run have ended, so this is the last one that holds it.
            Arc::into_inner(keeper).map(|keeper| keeper.release(&this.connector)).unwrap_or_default()
        });
        for node in released.await.unwrap_or_default() {
            let text = "its lock could not be given back; it expires by itself".to_owned();
            self.events.node(&node, EventKind::Note { text });
        }
    }
}

/// Takes a node's lock whoever holds it and gives it back at once, so that what was started under it ends on the old
/// system.
///
/// # Errors
/// The node cannot be reached, or someone took the lock in between.
pub fn break_lock(remote: &dyn Remote, found: &Lock, claimant: &Claimant) -> Result<(), StepError> {
    match take(remote, found, claimant)? {
        Ok(token) => release(remote, &token).map(drop).map_err(StepError::from),
        Err(now) => {
            let who = now.holder.map_or_else(|| "nobody".to_owned(), |holder| holder.who);
            Err(StepError::Locked(format!("the lock changed hands meanwhile ({who} holds it now)")))
        }
    }
}

/// Returns what is true on the node besides its lock.
#[must_use]
pub fn moment(facts: &HostFacts, lock: &Lock) -> Moment {
    Moment {
        boot: facts.boot.clone(),
        uptime: facts.uptime,
        activating: !facts.activations.is_empty(),
        holder_ended: lock.holder.as_ref().is_some_and(has_ended),
    }
}

/// Returns how this process is told from all others, in this boot of this computer: boot, process namespace, number and
/// the tick at which it started (numbers are used again).
#[must_use]
pub fn this_process() -> String {
    let start = started("self").unwrap_or_default();
    format!("{}/{}/{start}", here(), std::process::id())
}

fn here() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), namespace.display())
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)). The name before it may hold spaces and parentheses.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether the holder is a process of this computer that is no more.
fn has_ended(holder: &Holder) -> bool {
    let mine = format!("{}/", here());
    let Some((pid, start)) = holder.process.strip_prefix(&mine).and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    started(pid).as_deref() != Some(start)
}

#[cfg(test)]
mod tests {
    use super::{has_ended, here, this_process};
    use crate::lock::Holder;

    #[track_caller]
    fn check(process: String, ended: bool) {
        assert_eq!(has_ended(&Holder { process, ..Holder::default() }), ended);
    }

    #[test]
    fn a_process_of_this_computer_is_known_to_live_or_to_have_ended() {
        check(this_process(), false);
        check(format!("{}/{}/1", here(), std::process::id()), true);
        check(format!("{}/4194305/1", here()), true);
    }

    #[test]
    fn of_another_computer_s_process_nothing_is_known() {
        check("another-boot/pid:[1]/1/1".to_owned(), false);
        check(String::new(), false);
    }
}
