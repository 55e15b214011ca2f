//! Lock of a node, whose holder alone may change it, and the locks of a command as a group.
//!
//! `state` and `lease` decide (pure), `remote` takes, renews and releases one lock on its node, `acquire` takes all
//! locks of a command or none, and `renew` renews them as long as the [`Keeper`] exists.
//!
//! `/var/lib/machinist/lock` contains a fencing counter that only increases and, while a run holds the lock, its
//! holder. Each take increments the counter. The activation on the node knows the counter under which it was started
//! and does nothing under another one, so a run that lost its lock (for example after a laptop was suspended for too
//! long) cannot change anything.
//!
//! A resumed run takes a new counter as well, so the earlier process of the run, which may only have been suspended,
//! can no longer renew, confirm, abort or release anything. `from` is the counter of the run's first take: an
//! activation that was started under this counter or a later one still belongs to the run.
//!
//! The expiry is in seconds since the node's boot, so clock adjustments do not affect a lock's age. After a reboot of
//! the node, the lock lasts for a full period again.

mod acquire;
mod keeper;
mod lease;
mod process;
mod remote;
mod renew;
mod state;
mod table;
mod token;

pub use self::{
    acquire::{Refusals, Scope},
    keeper::Keeper,
    lease::Electorate,
    process::{claimant, moment, this_process},
    remote::{break_lock, request_under, run_under},
    state::{Claimant, Decision, Holder, Lock, Moment, decide},
    token::Token,
};
