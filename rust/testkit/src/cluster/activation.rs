//! Activation on a fake host, as `script/activate.sh` performs it.

use machinist_nix::StorePath;

use super::lock::Token;

/// Behaviour of a system when it is activated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything starts.
    #[default]
    Works,
    /// This unit fails, so the host reverts by itself.
    FailsUnit(String),
    /// It has no etcd, or one that does not start: the gate after the activation stays closed.
    WithoutEtcd,
    /// sshd accepts no new connections.
    RefusesConnections,
    /// It does not survive its boot: the machine is reset, and boots its default.
    PanicsAtBoot,
    /// It boots, and the machine does not respond any more.
    HangsAtBoot,
}

/// A started activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The name of the transient unit.
    pub unit: String,
    /// The token of the lock under which it was started.
    pub token: Token,
    /// The system.
    pub new: StorePath,
    /// The system before it.
    pub old: Option<StorePath>,
    /// True if the system was booted on trial: it is left by a reboot.
    pub trial: bool,
    /// Units that had failed before that boot, and do not count.
    pub unwell: String,
    /// The state, as in the file of that name: `waiting`, `confirmed`, `reverted WHY` ...
    pub state: String,
}

impl Activation {
    /// Returns true while its process is running.
    pub fn is_running(&self) -> bool {
        self.state == "waiting"
    }
}
