//! The lock on a node, which says who may change it, and the locks of a command together.
//!
//! `state` and `lease` decide (pure), `remote` takes, renews and releases one lock on its node, `acquire` takes all locks of
//! a command or none, and `renew` keeps them while the [`Keeper`] lives.
//!
//! `/var/lib/machinist/lock` holds a fencing counter that only grows and, while a run holds the lock, who that is. Each
//! take adds one to the counter. The activation on the node knows the counter that it was started with and does nothing
//! under another one, so a run that lost its lock (a laptop that slept too long) can change nothing any more.
//!
//! A run that is resumed takes a new counter as well, so the process that it was cut off from, which may only have been
//! suspended, can no longer renew, confirm, abort or release anything. `from` is the counter of the run's first take: an
//! activation that was started under it or a later one still belongs to the run.
//!
//! Expiry counts in seconds since the node booted: no clock that jumps makes a lock older or younger. After a reboot the
//! holder has as long again as it ever had.

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
