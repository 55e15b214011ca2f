//! Rollouts to many machines without losing the cluster: facts gathered, a plan as data, steps on hosts, verdicts.
//!
//! [`host`] holds the facts about a host, [`waves`] the order in which hosts change (pure), [`step`] the steps on one
//! host; [`deploy`](mod@deploy) combines them. Nothing here prints: progress is reported as [`Event`]s.

pub mod boot_once;
mod clock;
pub mod deploy;
pub mod drift;
pub mod etcd_version;
pub mod event;
pub mod expiry;
pub mod fan_out;
pub mod generations;
pub mod host;
pub mod identity;
pub mod install;
pub mod instances;
mod interrupt;
pub mod journal;
pub mod kubernetes_version;
mod local_system;
pub mod lock;
pub mod membership;
mod outcome;
pub mod permissions;
pub mod plan;
pub mod preflight;
mod problem;
pub mod readdress;
pub mod script;
pub mod software;
pub mod step;
pub mod stored;
mod target;
mod text;
pub mod upkeep;
pub mod waves;

pub use event::{Event, EventKind, Events};
pub use host::HostFacts;
pub use interrupt::Interrupt;
