//! Machines on this one computer: systemd-nspawn containers with a network, a `/nix` and an SSH host key of their own.
//!
//! Every machine boots a real systemd and sshd from one Debian root that is made once and shared read-only below an
//! overlay. One network namespace holds the bridge ("the switch"), one each machine, and one is the operator's place: a
//! socket created in there reaches every machine. The host's own namespace gets no address, no route and no interface,
//! so that no packet of the sandbox can leave the computer.
//!
//! What belongs to a machine is found again by its control group, never by a remembered process id alone, and
//! everything is recorded in the state directory before it is made: [`down`] finds all of it, also after a crash.

mod cgroup;
mod end;
mod error;
mod event;
mod fault;
mod file;
mod link;
mod lock;
mod machine;
mod mirror;
mod mountinfo;
mod names;
mod network;
mod prepare;
mod probe;
mod process;
mod programs;
mod recipe;
mod record;
mod root;
mod spec;
mod status;
mod up;

pub use end::End;
pub use error::{Error, MachineFailure};
pub use event::{Event, Events};
pub use fault::{Fault, ParseRateError, Rate, heal, inject};
pub use link::{Link, set_link};
pub use machine::{reboot, start, stop};
pub use spec::{DEFAULT_CACHE_DIR, MachineSpec, SandboxSpec, SystemFile, default_state_dir};
pub use status::{MachineState, MachineStatus, Status, status};
pub use up::{MachineReport, Report, down, remove, up};
