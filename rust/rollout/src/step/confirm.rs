//! Confirmation of a new system over a new connection: proof that the host still accepts logins.

use machinist_remote::Remote;

use super::{
    Connector, StepError,
    activate::{Activation, State},
};
use crate::script;

impl Activation {
    /// Opens a new connection, confirms over it, and waits until the new system is the one that boots.
    ///
    /// # Errors
    /// No new connection can be opened (the host reverts by itself), or the host reverted.
    pub fn confirm(&self, connector: &Connector) -> Result<(), StepError> {
        let fresh = connector.connect(&self.node)?;
        self.confirm_at_once(&*fresh, connector)
    }

    /// Confirms over the given connection, which does not prove that the host accepts new ones.
    ///
    /// # Errors
    /// The connection fails, or the host reverted.
    pub fn confirm_at_once(&self, remote: &dyn Remote, connector: &Connector) -> Result<(), StepError> {
        let state = self.wait_after(script::CONFIRM, remote, connector, "waiting|reverting")?;
        self.verdict(state, remote)
    }

    /// Converts a final state into a result, with the journal if something failed.
    ///
    /// # Errors
    /// Any state other than confirmed.
    pub fn verdict(&self, state: State, remote: &dyn Remote) -> Result<(), StepError> {
        match state {
            State::Confirmed => Ok(()),
            State::Reverted(why) => Err(StepError::Reverted { why, log: self.log(remote) }),
            State::Refused(why) => Err(StepError::Locked(why)),
            State::Failed(why) => {
                let why = format!("{why} (no older system to go back to)");
                Err(StepError::Broken { why, log: self.log(remote) })
            }
            State::Broken(why) => Err(StepError::Broken { why, log: self.log(remote) }),
            State::Died(at) => {
                Err(StepError::Unknown { why: format!("the activation ended while {at}, and does not report how") })
            }
            State::Gone => {
                let why = "the host was reset during the activation, so the system before it runs again".to_owned();
                Err(StepError::Reverted { why, log: String::new() })
            }
            State::Waiting | State::Passing(_) => Err(StepError::Unknown { why: format!("it still is {state:?}") }),
        }
    }
}
