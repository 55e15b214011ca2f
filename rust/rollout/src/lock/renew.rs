//! Renewal of held locks, each in its own thread, and forwarding of an interruption to the hosts.

use std::{sync::Arc, thread, time::Duration};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError};

use super::{
    lease,
    remote::{self, Kept},
    table::{Shared, table, uptime},
    token::Token,
};
use crate::step::{Connector, activate::Activation};

/// Requests each host with an activation in progress to revert. The host decides: an activation that was just confirmed
/// stays.
pub fn abort(shared: &Shared) {
    let told: Vec<(Activation, Arc<dyn Remote>)> = table(shared)
        .held
        .values_mut()
        .filter_map(|held| Some((held.activation.take()?, Arc::clone(&held.remote))))
        .collect();
    for (activation, remote) in told {
        // If the host cannot be reached, it reverts by itself when no confirmation arrives.
        let _told = activation.ask_to_abort(&*remote, "the operator stopped the run");
    }
}

/// Renews the locks, each in its own thread, so that an unresponsive node does not delay the other locks. A lock whose
/// renewal is still in progress is skipped.
pub fn renew(shared: &Shared, connector: &Connector) {
    let now = uptime();
    let mut table = table(shared);
    let lasts = lease::lasts(table.group_since().unwrap_or(now), now);
    for (node, held) in table.held.iter_mut().filter(|(_, held)| !held.renewing) {
        held.renewing = true;
        let renewal =
            Renewal { node: node.clone(), remote: Arc::clone(&held.remote), token: held.token.clone(), lasts };
        let shared = Arc::clone(shared);
        let connector = Arc::clone(connector);
        thread::spawn(move || renewal.run(&shared, &connector));
    }
}

struct Renewal {
    node: NodeName,
    remote: Arc<dyn Remote>,
    token: Token,
    lasts: u64,
}

impl Renewal {
    fn run(&self, shared: &Shared, connector: &Connector) {
        let first = self.ask(&*self.remote);
        let (answer, fresh) = match first {
            Ok(answer) => (Some(answer), None),
            Err(_) => match connector.connect(&self.node).map(Arc::<dyn Remote>::from) {
                Ok(fresh) => (self.ask(&*fresh).ok(), Some(fresh)),
                Err(_) => (None, None),
            },
        };
        let mut table = table(shared);
        // The lock may have been released and taken again in the meantime.
        let Some(held) = table.held.get_mut(&self.node).filter(|held| held.token == self.token) else { return };
        held.renewing = false;
        if let Some(fresh) = fresh {
            held.remote = fresh;
        }
        match answer {
            None => {}
            Some((sent, Kept::Ours)) => held.renewed = held.renewed.max(sent),
            Some((_, Kept::Lost(holder))) => {
                let why = format!("the lock of this run on {} is gone ({holder} holds it now)", self.node);
                held.lost.get_or_insert_with(|| why.clone());
                if table.voters.contains(&self.node) {
                    table.lost.get_or_insert(why);
                }
            }
        }
    }

    /// Returns the time at which the renewal was sent, and the node's response.
    fn ask(&self, remote: &dyn Remote) -> Result<(Duration, Kept), RemoteError> {
        let sent = uptime();
        Ok((sent, remote::renew(remote, &self.token, self.lasts)?))
    }
}
