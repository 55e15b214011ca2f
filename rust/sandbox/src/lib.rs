//! Test machines on the local computer: systemd-nspawn containers, each with its own network, `/nix` and SSH host key.
//!
//! Every machine boots a real systemd and sshd from one Debian root, which is built once and shared as the read-only
//! lower layer of an overlay. One network namespace holds the bridge ("the switch"), each machine has its own, and one
//! belongs to the operator: a socket created in it reaches every machine. The host's own namespace gets no address,
//! route or interface, so no packet of the sandbox can leave the computer.
//!
//! A machine's processes are identified by its control group, never by a remembered process id alone, and every
//! resource is recorded in the state directory before it is created: [`down`] finds all of it, even after a crash.

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
mod pods;
mod prepare;
mod probe;
mod process;
mod programs;
mod readdress;
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
pub use machine::{console, reboot, start, stop};
pub use readdress::readdress;
pub use root::debian_root;
pub use spec::{DEFAULT_CACHE_DIR, MachineRoot, MachineSpec, SandboxSpec, SystemFile, SystemRoot, default_state_dir};
pub use status::{MachineState, MachineStatus, Status, operator_namespace, status};
pub use up::{MachineReport, Report, down, remove, up};
