//! An activation on a fake host, as `script/activate.sh` runs it.

use machinist_nix::StorePath;

use super::lock::Token;

/// What a system does where it is activated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything starts.
    #[default]
    Works,
    /// This unit fails, so the host goes back by itself.
    FailsUnit(String),
    /// It has no etcd, or one that does not start: the gate after the activation stays closed.
    WithoutEtcd,
    /// sshd lets no new connection in.
    RefusesConnections,
}

/// An activation that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The transient unit.
    pub unit: String,
    /// The lock under which it was started.
    pub token: Token,
    /// The system.
    pub new: StorePath,
    /// The system before it.
    pub old: Option<StorePath>,
    /// The state, as the file of that name says it: `waiting`, `confirmed`, `reverted WHY` ...
    pub state: String,
}

impl Activation {
    /// Whether its process still runs.
    pub fn goes_on(&self) -> bool {
        self.state == "waiting"
    }
}
